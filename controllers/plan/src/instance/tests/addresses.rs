//! Addresses, and who has them.

use super::*;

fn part(prefix: u8) -> HostSubnet {
    let subnet = evenkeel_api::network::Cidr::new("10.88.1.0".parse().unwrap(), prefix);
    HostSubnet { network: lan(), host: "h1".parse().unwrap(), subnet }
}

pub fn numbered(n: u64) -> InstanceId {
    format!("shop.web.{n}.{n}").parse().unwrap()
}

#[test]
fn addresses_rest_before_they_are_used_again() {
    let (mut book, none) = (Book::default(), BTreeSet::new());
    // Of 32, the last 16, the network's and the gateway's are not given.
    for n in 1..=14 {
        book.assign(&numbered(n), &part(27), &none, secs(0)).unwrap();
    }
    let full = book.assign(&numbered(15), &part(27), &none, secs(0)).unwrap_err();
    assert_eq!(full.to_string(), "no address of 10.88.1.0/27 is free on network lan: 14 are in use, 0 rest");
    let address = book.of(&numbered(3))[&lan()];
    book.release(&numbered(3), secs(10));
    assert!(book.assign(&numbered(15), &part(27), &none, secs(69)).is_err());
    // A restart of the controller or the machine begins the rest anew.
    let mut book: Book = serde_json::from_str(&serde_json::to_string(&book).unwrap()).unwrap();
    assert!(book.assign(&numbered(15), &part(27), &none, secs(1)).is_err());
    assert!(book.assign(&numbered(15), &part(27), &none, secs(60)).is_err());
    assert_eq!(book.assign(&numbered(15), &part(27), &none, secs(61)), Ok(address));
    assert_eq!(book.assign(&numbered(15), &part(27), &none, secs(500)), Ok(address), "for life");
}

#[test]
fn addresses_that_others_hold_are_left_alone() {
    let mut book = Book::default();
    let taken = BTreeSet::from(["10.88.1.2".parse().unwrap()]);
    assert_eq!(book.assign(&numbered(1), &part(24), &taken, secs(0)).unwrap().to_string(), "10.88.1.3");
    book.adopt(&numbered(2), &lan(), "10.88.1.3".parse().unwrap());
    assert!(book.of(&numbered(2)).is_empty(), "it is another's");
    book.give_up(&numbered(1), &lan(), secs(0));
    assert_eq!(book.assign(&numbered(1), &part(24), &taken, secs(1)).unwrap().to_string(), "10.88.1.4");
}

proptest! {
    /// No two instances ever have one address, and none changes its own.
    #[test]
    fn addresses_are_unique(steps in proptest::collection::vec((1u64..30, any::<bool>(), 0u64..40), 1..120)) {
        let (mut book, mut now, none) = (Book::default(), secs(0), BTreeSet::new());
        let mut given: BTreeMap<u64, Ipv4Addr> = BTreeMap::new();
        let mut released: BTreeMap<Ipv4Addr, Duration> = BTreeMap::new();
        for (n, take, wait) in steps {
            now += secs(wait);
            if take {
                let Ok(address) = book.assign(&numbered(n), &part(27), &none, now) else { continue };
                prop_assert!(given.iter().all(|(other, at)| (*other == n) == (*at == address)));
                if !given.contains_key(&n) {
                    prop_assert!(released.get(&address).is_none_or(|at| now >= *at + REST));
                }
                given.insert(n, address);
            } else if let Some(address) = given.remove(&n) {
                book.release(&numbered(n), now);
                released.insert(address, now);
            }
        }
    }
}

#[test]
fn a_full_part_says_what_is_in_use_and_what_rests() {
    let (mut book, none) = (Book::default(), BTreeSet::new());
    for n in 1..=14 {
        book.assign(&numbered(n), &part(27), &none, secs(0)).unwrap();
    }
    book.release(&numbered(3), secs(10));
    let full = book.assign(&numbered(15), &part(27), &none, secs(11)).unwrap_err();
    assert_eq!(full.to_string(), "no address of 10.88.1.0/27 is free on network lan: 13 are in use, 1 rest");
}

#[test]
fn an_address_that_a_copy_was_found_with_is_its_own_if_nobody_has_it_and_it_has_none() {
    let mut book = Book::default();
    let at = |n: u8| Ipv4Addr::new(10, 88, 1, n);
    let of = |book: &Book, n| book.of(&numbered(n)).get(&lan()).copied();
    book.adopt(&numbered(1), &lan(), at(5));
    book.adopt(&numbered(2), &lan(), at(6));
    assert_eq!((of(&book, 1), of(&book, 2)), (Some(at(5)), Some(at(6))));
    book.adopt(&numbered(1), &lan(), at(7));
    assert_eq!(of(&book, 1), Some(at(5)), "for life");
    // What rests was found after all.
    book.release(&numbered(1), secs(0));
    assert_eq!(of(&book, 1), None);
    book.adopt(&numbered(1), &lan(), at(5));
    assert_eq!(of(&book, 1), Some(at(5)));
}

#[test]
fn giving_up_an_address_concerns_nobody_else() {
    let (mut book, none) = (Book::default(), BTreeSet::new());
    for n in 1..=2 {
        book.assign(&numbered(n), &part(24), &none, secs(0)).unwrap();
    }
    let others = book.of(&numbered(2));
    book.give_up(&numbered(1), &lan(), secs(1));
    assert_eq!((book.of(&numbered(1)), book.of(&numbered(2))), (BTreeMap::new(), others));
    assert_eq!(book.owners(), BTreeSet::from([&numbered(2)]));
}
