//! What a query gets, as bytes.

use std::collections::BTreeSet;
use std::net::IpAddr;

use domain::base::iana::{Class, Opcode, Rcode, Rtype};
use domain::base::message_builder::{AdditionalBuilder, AnswerBuilder, PushError};
use domain::base::name::{Name, ParsedName};
use domain::base::{Message, MessageBuilder, Question, Serial, StaticCompressor, Ttl};
use domain::rdata::{A, Ptr, Soa, Srv, Txt};
use evenkeel_plan::dns::{Found, Origin, Target, Wanted, Zone};

pub use crate::random::Random;

/// Addresses in one answer, at most: a caller tries one or two, and a plain UDP answer has to hold them.
pub const MOST_ADDRESSES: usize = 30;
/// Bytes in one UDP answer, at most: what passes every path in one piece.
pub const MOST_UDP: u16 = 1232;
/// Bytes in one UDP answer to a client that does not say what it can take.
const PLAIN_UDP: u16 = 512;
/// Bytes of the OPT record, which is kept room for.
const OPT: usize = 11;
/// Seconds that «there is no such name» may be cached.
const NEGATIVE_TTL: u32 = 1;

/// How a query came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// In one datagram.
    Udp,
    /// On a connection.
    Tcp,
}

/// What to do with a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Send this back.
    Reply(Vec<u8>),
    /// Ask others: it is none of our names.
    Forward,
    /// Nothing: it is no query.
    Drop,
}

type Out = StaticCompressor<Vec<u8>>;

/// What `query` gets from `zone`. Never panics, whatever the bytes are.
pub fn answer(zone: &Zone, query: &[u8], asker: IpAddr, transport: Transport, random: &mut Random) -> Step {
    let Ok(msg) = Message::from_slice(query) else { return Step::Drop };
    // An answer to an answer could go back and forth for ever.
    if msg.header().qr() {
        return Step::Drop;
    }
    if msg.header().opcode() != Opcode::QUERY {
        return reply(failure(query, Rcode::NOTIMP));
    }
    let (Ok(question), Ok(edns)) = (msg.sole_question(), Edns::of(msg)) else {
        return reply(failure(query, Rcode::FORMERR));
    };
    if edns.is_some_and(|edns| edns.version > 0) {
        return reply(bad_version(msg));
    }
    if question.qclass() != Class::IN && question.qclass() != Class::ANY {
        return reply(failure(query, Rcode::REFUSED));
    }
    let mut buffer = [0; 256];
    let mut labels = [""; 128];
    let Some(labels) = split(question.qname(), &mut buffer, &mut labels) else {
        // A label that is no text names nothing here, but may elsewhere.
        return Step::Forward;
    };
    let found = zone.lookup(labels, wanted(question.qtype()), asker);
    match found {
        Found::Foreign => Step::Forward,
        Found::Unknown => reply(failure(query, Rcode::SERVFAIL)),
        found => reply(compose(zone, msg, &question, edns, transport, &found, random).ok()),
    }
}

/// An answer that says no more than that it went wrong; `None` when the query has no header.
pub fn failure(query: &[u8], rcode: Rcode) -> Option<Vec<u8>> {
    let msg = Message::from_slice(query).ok()?;
    let mut builder = MessageBuilder::from_target(StaticCompressor::new(Vec::with_capacity(128))).ok()?;
    builder.header_mut().set_ra(true);
    let start = if rcode == Rcode::FORMERR {
        // The question may be what is malformed.
        let header = builder.header_mut();
        header.set_id(msg.header().id());
        header.set_qr(true);
        header.set_opcode(msg.header().opcode());
        header.set_rcode(rcode);
        builder.answer()
    } else {
        builder.start_error(msg, rcode)
    };
    Some(start.finish().into_target())
}

fn reply(bytes: Option<Vec<u8>>) -> Step {
    bytes.map_or(Step::Drop, Step::Reply)
}

/// What the client says it can take.
#[derive(Debug, Clone, Copy)]
struct Edns {
    version: u8,
    size: u16,
}

impl Edns {
    /// `Err`: the records after the question cannot be read.
    fn of(msg: &Message<[u8]>) -> Result<Option<Self>, ()> {
        let mut found = None;
        for record in msg.additional().map_err(|_| ())? {
            if record.map_err(|_| ())?.rtype() == Rtype::OPT {
                let opt = msg.opt().ok_or(())?;
                found = Some(Self { version: opt.version(), size: opt.udp_payload_size() });
            }
        }
        Ok(found)
    }
}

fn bad_version(msg: &Message<[u8]>) -> Option<Vec<u8>> {
    let builder = MessageBuilder::from_target(StaticCompressor::new(Vec::with_capacity(128))).ok()?;
    let mut additional = builder.start_error(msg, Rcode::NOERROR).additional();
    let opt = additional.opt(|opt| {
        opt.set_udp_payload_size(MOST_UDP);
        opt.set_rcode(domain::base::iana::OptRcode::BADVERS);
        Ok(())
    });
    opt.ok().map(|()| additional.finish().into_target())
}

fn wanted(rtype: Rtype) -> Wanted {
    match rtype {
        Rtype::A => Wanted::A,
        Rtype::SRV => Wanted::Srv,
        Rtype::PTR => Wanted::Ptr,
        Rtype::SOA => Wanted::Soa,
        Rtype::TXT => Wanted::Txt,
        Rtype::ANY => Wanted::Any,
        _ => Wanted::Other,
    }
}

/// The labels in lower case, without the root; `None` if one is no text.
fn split<'b, 'l>(
    name: &ParsedName<&[u8]>,
    buffer: &'b mut [u8; 256],
    labels: &'l mut [&'b str; 128],
) -> Option<&'l [&'b str]> {
    let mut rest: &'b mut [u8] = buffer;
    let mut count = 0;
    for label in name.iter().filter(|label| !label.is_root()) {
        let (own, after) = rest.split_at_mut_checked(label.len())?;
        own.copy_from_slice(label.as_slice());
        own.make_ascii_lowercase();
        rest = after;
        *labels.get_mut(count)? = std::str::from_utf8(own).ok()?;
        count += 1;
    }
    labels.get(..count)
}

/// The answer to a name of ours. Cut to what the client can take: first the additional addresses go, then
/// addresses (a part of them is as good as all), then the whole answer, for the client to come back by TCP.
fn compose(
    zone: &Zone,
    msg: &Message<[u8]>,
    question: &Question<ParsedName<&[u8]>>,
    edns: Option<Edns>,
    transport: Transport,
    found: &Found<'_>,
    random: &mut Random,
) -> Result<Vec<u8>, PushError> {
    let most = match (transport, edns) {
        (Transport::Tcp, _) => u16::MAX,
        (Transport::Udp, None) => PLAIN_UDP,
        (Transport::Udp, Some(edns)) => edns.size.clamp(PLAIN_UDP, MOST_UDP),
    };
    let mut builder = MessageBuilder::from_target(StaticCompressor::new(Vec::with_capacity(512)))
        .map_err(|_| PushError::ShortBuf)?;
    builder.set_push_limit(usize::from(most) - if edns.is_some() { OPT } else { 0 });
    let rcode = if matches!(found, Found::NoName { .. }) { Rcode::NXDOMAIN } else { Rcode::NOERROR };
    let mut answer = builder.start_answer(msg, rcode)?;
    answer.header_mut().set_aa(true);
    answer.header_mut().set_ra(true);
    let mut additional = match records(zone, answer, question, found, transport, random) {
        Ok(additional) => additional,
        Err(cut) => {
            let mut additional = cut.additional();
            additional.header_mut().set_tc(true);
            additional
        }
    };
    if edns.is_some() {
        additional.clear_push_limit();
        additional.opt(|opt| {
            opt.set_udp_payload_size(MOST_UDP);
            Ok(())
        })?;
    }
    Ok(additional.finish().into_target())
}

/// `Err`: it does not fit; what was taken back to an empty answer.
fn records(
    zone: &Zone,
    mut answer: AnswerBuilder<Out>,
    question: &Question<ParsedName<&[u8]>>,
    found: &Found<'_>,
    transport: Transport,
    random: &mut Random,
) -> Result<AdditionalBuilder<Out>, AnswerBuilder<Out>> {
    let owner = question.qname();
    match found {
        Found::Foreign | Found::Unknown => Ok(answer.additional()),
        Found::NoName { zone: origin } | Found::NoData { zone: origin } => {
            let mut authority = answer.authority();
            if let Some((name, soa)) = soa(zone, *origin) {
                // An answer that has no room for it still says what it says.
                let _ = authority.push((name, Class::IN, Ttl::from_secs(NEGATIVE_TTL), soa));
            }
            Ok(authority.additional())
        }
        Found::Addresses { ttl, addresses } => {
            for (at, address) in random.addresses(addresses, MOST_ADDRESSES).into_iter().enumerate() {
                let record = (owner, Class::IN, Ttl::from_secs(*ttl), A::new(address));
                match answer.push(record) {
                    Ok(()) => {}
                    Err(_) if at > 0 => break,
                    Err(_) => return Err(emptied(answer)),
                }
            }
            Ok(answer.additional())
        }
        Found::Targets { ttl, domain, targets } => {
            services(answer, owner, *ttl, domain, targets, transport, random)
        }
        Found::Pointer { ttl, name } => {
            let target = name.parse::<Name<Vec<u8>>>().ok().map(Ptr::new);
            match target.map(|ptr| answer.push((owner, Class::IN, Ttl::from_secs(*ttl), ptr))) {
                Some(Err(_)) => Err(emptied(answer)),
                Some(Ok(())) | None => Ok(answer.additional()),
            }
        }
        Found::Texts { ttl, lines } => {
            for line in *lines {
                let text = Txt::<Vec<u8>>::build_from_slice(line.as_bytes());
                let Ok(text) = text else { continue };
                if answer.push((owner, Class::IN, Ttl::from_secs(*ttl), text)).is_err() {
                    match transport {
                        Transport::Udp => return Err(emptied(answer)),
                        // More than any answer holds.
                        Transport::Tcp => break,
                    }
                }
            }
            Ok(answer.additional())
        }
        Found::Soa { zone: origin } => {
            if let Some((name, soa)) = soa(zone, *origin)
                && answer.push((name, Class::IN, Ttl::from_secs(NEGATIVE_TTL), soa)).is_err()
            {
                return Err(emptied(answer));
            }
            Ok(answer.additional())
        }
    }
}

/// All of them, since whoever asks for ports balances over what it gets; by UDP, all that fit into a datagram or none, so
/// that the client comes by TCP.
fn services(
    mut answer: AnswerBuilder<Out>,
    owner: &ParsedName<&[u8]>,
    ttl: u32,
    domain: &str,
    targets: &[Target],
    transport: Transport,
    random: &mut Random,
) -> Result<AdditionalBuilder<Out>, AnswerBuilder<Out>> {
    let ttl = Ttl::from_secs(ttl);
    let (mut named, mut pushed) = (Vec::new(), BTreeSet::new());
    for at in random.pick(targets.len(), targets.len()) {
        let Some(target) = targets.get(at) else { continue };
        let Ok(name) = format!("{}.{domain}", target.name).parse::<Name<Vec<u8>>>() else { continue };
        // Two copies of one slot are one target with two addresses.
        let twin = !pushed.insert((&target.name, target.port));
        if !twin && answer.push((owner, Class::IN, ttl, Srv::new(0, 1, target.port, &name))).is_err() {
            match transport {
                Transport::Udp => return Err(emptied(answer)),
                // More than any answer holds: another choice each time.
                Transport::Tcp => break,
            }
        }
        named.push((name, target.address));
    }
    let mut additional = answer.additional();
    for (name, address) in named {
        if additional.push((name, Class::IN, ttl, A::new(address))).is_err() {
            // A courtesy: without it the client asks for the addresses.
            return Ok(additional.rewind_into());
        }
    }
    Ok(additional)
}

type SoaRecord = (Name<Vec<u8>>, Soa<Name<Vec<u8>>>);

fn soa(zone: &Zone, origin: Origin<'_>) -> Option<SoaRecord> {
    let name = match origin {
        Origin::Domain(name) => name.to_owned(),
        Origin::Reverse { address, octets } => {
            let given = address.octets().into_iter().take(octets.into());
            let labels: Vec<String> = given.rev().map(|octet| octet.to_string()).collect();
            format!("{}.in-addr.arpa", labels.join("."))
        }
    };
    let parse = |text: String| text.parse::<Name<Vec<u8>>>().ok();
    let (server, people) = (parse(format!("ns.{name}"))?, parse(format!("hostmaster.{name}"))?);
    // Serial numbers count on 32 bits and may wrap.
    let serial = Serial(zone.revision() as u32);
    let [refresh, retry, expire, minimum] = [60, 10, 86_400, NEGATIVE_TTL].map(Ttl::from_secs);
    Some((parse(name)?, Soa::new(server, people, serial, refresh, retry, expire, minimum)))
}

/// Takes everything back.
fn emptied(mut answer: AnswerBuilder<Out>) -> AnswerBuilder<Out> {
    answer.rewind();
    answer
}

#[cfg(test)]
mod tests;
