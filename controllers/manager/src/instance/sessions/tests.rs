//! Sessions with a host whose engine and store are in memory.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use evenkeel_api::key::Controller;
use evenkeel_api::quantity::Span;
use evenkeel_api::session::{Destination, Since, Usage};
use evenkeel_engine::fake::Op;
use evenkeel_engine::{EngineError, FakeEngine, Lines};
use evenkeel_etcd::MemoryStore;
use evenkeel_plan::instance::container::label;
use evenkeel_runtime::env::SystemClock;
use evenkeel_runtime::store::TxnBuilder;
use evenkeel_sessions::{Opening, Size, call};
use futures_util::StreamExt;
use tokio::net::TcpListener;

use super::*;

struct World {
    store: MemoryStore,
    engine: FakeEngine,
    address: SocketAddr,
}

const COPY: &str = "shop.web.1.1";

fn copy() -> InstanceId {
    COPY.parse().unwrap()
}

fn host() -> HostName {
    "h1".parse().unwrap()
}

impl World {
    async fn new() -> Self {
        let (store, engine) = (MemoryStore::new(1), FakeEngine::new());
        let cluster = Cluster { uid: "u1".into(), epoch: 1, level: 1, floor: 0 };
        let put = TxnBuilder::new().put(&Key::Cluster, serde_json::to_vec(&cluster).unwrap());
        store.commit(&put.build().unwrap()).await.unwrap();
        let own: Arc<dyn Store> = Arc::new(store.client(1));
        let env = Arc::new(Env::new(SystemClock, 1));
        let writer = Writer::new(own.clone(), env.clone(), host(), Controller::Instance);
        let here =
            Here { host: host(), env: env.clone(), store: own, engine: Arc::new(engine.clone()), writer };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(Server::new(host(), None, here).answer(listener));
        let world = Self { store, engine, address };
        world.container(COPY, "u1");
        world
    }

    fn container(&self, name: &str, uid: &str) {
        let labels = [(label::CLUSTER, uid), (label::INSTANCE, name)];
        let labels = labels.map(|(label, of)| (label.to_owned(), of.to_owned()));
        self.engine.add_foreign(name, BTreeMap::from(labels));
    }

    /// Asks for it, with the right to.
    async fn ask(&self, action: Action) -> Link {
        let (hello, mut link) = call(&host(), 0, self.address, None).await.unwrap();
        let key = Key::asks(&action, hello.challenge);
        let session = Session { by: "ann".into(), host: host(), action };
        let put = TxnBuilder::new().put(&key, serde_json::to_vec(&session).unwrap());
        self.store.client(2).commit(&put.build().unwrap()).await.unwrap();
        link.send(Frame::Open(Opening::Ask(session))).await.unwrap();
        assert_eq!(link.receive().await.unwrap(), Frame::Accepted(None));
        link
    }

    /// All that comes of it, to its end.
    async fn all(&self, action: Action) -> (Vec<Frame>, Frame) {
        let mut link = self.ask(action).await;
        let mut frames = Vec::new();
        loop {
            match link.receive().await.unwrap() {
                last @ (Frame::End(_) | Frame::Refused(_)) => return (frames, last),
                frame => frames.push(frame),
            }
        }
    }
}

fn logs(follow: bool) -> Action {
    Action::Logs { copy: copy(), follow, since: None, tail: None }
}

fn exec(command: &[&str], stdin: bool) -> Action {
    let command = command.iter().map(ToString::to_string).collect();
    Action::Exec { copy: copy(), command, tty: false, stdin }
}

#[tokio::test]
async fn what_a_copy_writes_is_told_and_followed() {
    let world = World::new().await;
    world.engine.writes(COPY, "one", false);
    world.engine.writes(COPY, "two", true);
    let (frames, last) = world.all(logs(false)).await;
    assert_eq!(last, Frame::End(0));
    assert!(
        matches!(&frames[..], [Frame::Output(one), Frame::Error(two)]
        if one.ends_with(b" one\n") && two.ends_with(b" two\n")),
        "{frames:?}"
    );
    let mut link = world.ask(logs(true)).await;
    for text in ["one", "two", "three"] {
        if text == "three" {
            world.engine.writes(COPY, text, false);
        }
        let (Frame::Output(line) | Frame::Error(line)) = link.receive().await.unwrap() else {
            panic!("no line")
        };
        assert!(line.ends_with(format!(" {text}\n").as_bytes()), "{line:?}");
    }
    world.engine.crash(COPY, 1, false);
    assert_eq!(link.receive().await.unwrap(), Frame::End(0));
}

#[tokio::test]
async fn commands_are_typed_to_and_end_as_they_end() {
    let world = World::new().await;
    let (frames, last) = world.all(exec(&["sh", "-c", "exit 7"], false)).await;
    assert_eq!((frames, last), (Vec::new(), Frame::End(7)));
    let mut link = world.ask(exec(&["cat"], true)).await;
    link.send(Frame::Input(Bytes::from_static(b"hi"))).await.unwrap();
    assert_eq!(link.receive().await.unwrap(), Frame::Output(Bytes::from_static(b"hi")));
    link.send(Frame::InputEnd).await.unwrap();
    assert_eq!(link.receive().await.unwrap(), Frame::End(0));
    let mut link =
        world.ask(Action::Exec { copy: copy(), command: vec!["cat".into()], tty: true, stdin: true }).await;
    world.engine.take_calls();
    link.send(Frame::Resize(Size { columns: 80, rows: 24 })).await.unwrap();
    // What is typed after it comes back after it.
    link.send(Frame::Input(Bytes::from_static(b"hi"))).await.unwrap();
    assert_eq!(link.receive().await.unwrap(), Frame::Output(Bytes::from_static(b"hi")));
    assert_eq!(world.engine.take_calls().len(), 1, "the engine hears of the terminal's size");
    let (_, last) = world.all(exec(&[], false)).await;
    assert!(matches!(last, Frame::Refused(why) if why.contains("no command")));
}

#[tokio::test]
async fn what_is_not_ours_is_not_reached_whatever_its_name_is() {
    let world = World::new().await;
    world.container("shop.other.1.1", "u2");
    for name in ["shop.other.1.1", "shop.none.1.1"] {
        let copy: InstanceId = name.parse().unwrap();
        let (_, last) = world.all(Action::Logs { copy, follow: false, since: None, tail: None }).await;
        assert!(matches!(&last, Frame::Refused(why) if why.contains("has no container on h1")), "{last:?}");
    }
    let (_, last) = world.all(Action::Usage { service: None, follow: false }).await;
    assert_eq!(last, Frame::End(0));
}

#[tokio::test]
async fn files_go_into_folders_and_beside_what_is_there() {
    let world = World::new().await;
    // As much of a head as the engine in memory looks at.
    let mut entry = vec![0; 1024];
    entry[..4].copy_from_slice(b"kept");
    entry[124..135].copy_from_slice(b"00000000005");
    entry[156] = b'0';
    entry[512..517].copy_from_slice(b"hello");
    let entry = Bytes::from(entry);
    for (path, folder, name) in [
        ("/tmp", "/tmp/", None),
        ("/tmp/", "/tmp/", None),
        ("/", "/", None),
        ("/tmp/kept", "/tmp/", Some("kept")),
        ("/new", "/", Some("new")),
    ] {
        let mut link = world.ask(Action::Store { copy: copy(), path: path.to_owned() }).await;
        let Frame::Answer(answer) = link.receive().await.unwrap() else { panic!("no answer") };
        let expected = Destination { folder: folder.to_owned(), name: name.map(str::to_owned) };
        assert_eq!(serde_json::from_slice::<Destination>(&answer).unwrap(), expected, "{path}");
        link.send(Frame::Input(entry.clone())).await.unwrap();
        link.send(Frame::InputEnd).await.unwrap();
        assert_eq!(link.receive().await.unwrap(), Frame::End(0));
    }
    let (frames, last) = world.all(Action::Fetch { copy: copy(), path: "/tmp/kept".to_owned() }).await;
    assert_eq!((&frames[0], last), (&Frame::Output(entry), Frame::End(0)));
    // Broken off, it is not taken.
    let mut link = world.ask(Action::Store { copy: copy(), path: "/tmp/".to_owned() }).await;
    assert!(matches!(link.receive().await.unwrap(), Frame::Answer(_)));
    link.send(Frame::Refused("no more".to_owned())).await.unwrap();
    assert!(matches!(link.receive().await.unwrap(), Frame::Refused(why) if why.contains("no more")));
    // Refused by the engine, it ends, though whoever sends has not.
    world.engine.fail_next(Op::Store, EngineError::Refused("the disk is full".to_owned()));
    let mut link = world.ask(Action::Store { copy: copy(), path: "/tmp/".to_owned() }).await;
    assert!(matches!(link.receive().await.unwrap(), Frame::Answer(_)));
    for _ in 0..3 {
        link.send(Frame::Input(Bytes::from_static(b"piece"))).await.unwrap();
    }
    let told = tokio::time::timeout(Duration::from_secs(10), link.receive()).await;
    assert!(matches!(told, Ok(Ok(Frame::Refused(why))) if why.contains("the disk is full")));
}

#[tokio::test]
async fn usage_is_of_running_copies_and_each_round_has_an_end() {
    let world = World::new().await;
    world.container("pay.web.1.1", "u1");
    world.container("pay.web.2.2", "u1");
    let service = Some("shop/web".parse().unwrap());
    for (service, count) in [(service, 1), (None, 3)] {
        let (frames, last) = world.all(Action::Usage { service, follow: false }).await;
        let rounds: Vec<Vec<Usage>> = frames
            .iter()
            .map(|frame| match frame {
                Frame::Answer(answer) => serde_json::from_slice(answer).unwrap(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!((rounds.iter().map(Vec::len).collect::<Vec<_>>(), last), (vec![count, 0], Frame::End(0)));
    }
}

#[tokio::test]
async fn a_port_needs_an_address() {
    let world = World::new().await;
    let action = Action::Forward { copy: copy(), port: 80 };
    let (hello, mut link) = call(&host(), 0, world.address, None).await.unwrap();
    let session = Session { by: "ann".into(), host: host(), action: action.clone() };
    let put =
        TxnBuilder::new().put(&Key::asks(&action, hello.challenge), serde_json::to_vec(&session).unwrap());
    world.store.client(2).commit(&put.build().unwrap()).await.unwrap();
    link.send(Frame::Open(Opening::Ask(session))).await.unwrap();
    let Frame::Accepted(Some(token)) = link.receive().await.unwrap() else { panic!("no token") };
    let (_, mut joined) = call(&host(), 0, world.address, None).await.unwrap();
    joined.send(Frame::Open(Opening::Join(token))).await.unwrap();
    assert_eq!(joined.receive().await.unwrap(), Frame::Accepted(None));
    assert!(matches!(joined.receive().await.unwrap(), Frame::Refused(why) if why.contains("no address")));
}

#[test]
fn records_of_sessions_are_one_line_and_not_of_those_that_look() {
    let asked = |action| event(&Session { by: "ann".into(), host: host(), action });
    let long = "x".repeat(1000);
    let event = asked(exec(&["sh", "-c", "a\nb", &long], false)).unwrap();
    assert!(event.message.starts_with("ann runs `sh -c a b xxx") && event.message.len() < 400, "{event:?}");
    assert_eq!((event.reason.as_str(), event.instance), ("Exec", Some(copy())));
    assert!(asked(logs(false)).is_none());
    assert!(asked(Action::Usage { service: None, follow: true }).is_none());
}

#[test]
fn an_age_is_counted_from_the_hosts_own_now() {
    let lines = |since, tail, follow| logs::lines(Timestamp(100_000), since, tail, follow);
    let young = lines(Some(Since::Ago(Span::seconds(60))), Some(3), true);
    assert_eq!(young, Lines { since: Some(Timestamp(40_000)), tail: Some(3), follow: true });
    assert_eq!(lines(Some(Since::At(Timestamp(7))), None, false).since, Some(Timestamp(7)));
    assert_eq!(lines(None, None, false).since, None);
}

#[tokio::test]
async fn only_what_the_store_holds_word_for_word_is_done_and_what_changes_something_is_told() {
    let world = World::new().await;
    let put = async |key: &Key, session: &Session| {
        let put = TxnBuilder::new().put(key, serde_json::to_vec(session).unwrap());
        world.store.client(2).commit(&put.build().unwrap()).await.unwrap();
    };
    let session = |by: &str, action| Session { by: by.into(), host: host(), action };
    let other = session("ann", exec(&["reboot"], false));
    // Nothing; another command; another person; what only seeing would be enough for.
    for (held, asked) in [
        (None, session("ann", exec(&["ls"], false))),
        (Some(other), session("ann", exec(&["ls"], false))),
        (Some(session("eve", exec(&["ls"], false))), session("ann", exec(&["ls"], false))),
        (Some(session("ann", logs(false))), session("ann", exec(&["ls"], false))),
    ] {
        let (hello, mut link) = call(&host(), 0, world.address, None).await.unwrap();
        if let Some(held) = held {
            put(&Key::asks(&held.action, hello.challenge), &held).await;
        }
        link.send(Frame::Open(Opening::Ask(asked))).await.unwrap();
        let answer = link.receive().await.unwrap();
        assert!(matches!(&answer, Frame::Refused(why) if why.contains("does not hold")), "{answer:?}");
    }
    assert_eq!(world.store.peek("events/").len(), 0);
    world.all(logs(false)).await;
    assert_eq!(world.store.peek("events/").len(), 0);
    world.all(exec(&["sh", "-c", "exit 7"], false)).await;
    let told = async {
        while world.store.peek("events/h1.instance/").is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), told).await.unwrap();
}

#[tokio::test]
async fn a_host_answers_where_it_says() {
    let (store, engine) = (MemoryStore::new(1), FakeEngine::new());
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let env = Arc::new(Env::new(SystemClock, 1));
    let writer = Writer::new(Arc::new(store.client(1)), env.clone(), host(), Controller::Instance);
    let edges: Edges = (Arc::new(store.client(2)), Arc::new(engine));
    let sessions = Sessions { listen: free, identity: None, connect: Arc::new(move || Ok(edges.clone())) };
    sessions.begin(&host(), &env, &writer).unwrap();
    let answered = async {
        while call(&host(), 0, free, None).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), answered).await.unwrap();
}

/// Both ends of a connection: the host's, and that of who asks.
fn ends() -> (Ends, Link) {
    let (near, far) = tokio::io::duplex(1 << 10);
    let (sender, receiver) = Link::over(near).split();
    (Ends { sender, receiver }, Link::over(far))
}

#[tokio::test(start_paused = true)]
async fn whoever_falls_asleep_over_a_copy_of_files_is_let_go() {
    let engine = FakeEngine::new();
    engine.add_foreign(COPY, BTreeMap::new());
    // Nothing comes.
    let (mut host, mut asker) = ends();
    let began = tokio::time::Instant::now();
    let awake = tokio::spawn(async move { while asker.receive().await.is_ok() {} });
    let stored = files::store(&engine, COPY, "/tmp/", &mut host).await;
    assert!(stored.unwrap_err().to_string().contains("nothing came for 30 seconds"));
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    awake.abort();
    // Nothing is taken; that somebody is there is heard all the time.
    let (host, asker) = ends();
    let pieces = futures_util::stream::repeat(Bytes::from_static(&[7; 1024]));
    let output = Box::pin(pieces.map(|piece| Ok(evenkeel_engine::Piece::Output(piece))));
    let sent = logs::pass_on(output, &host.sender, Duration::from_secs(30)).await;
    assert!(sent.unwrap_err().to_string().contains("nothing was taken for 30 seconds"));
    drop((host, asker));
}

#[tokio::test(start_paused = true)]
async fn who_is_gone_is_missed_also_by_a_command_that_does_not_read() {
    let engine = FakeEngine::new();
    engine.add_foreign(COPY, BTreeMap::new());
    let (mut host, asker) = ends();
    let command = ["sleep".to_owned(), "infinity".to_owned()];
    let typing = async move {
        let data = Bytes::from_static(&[7; 1024]);
        while tokio::time::timeout(Duration::from_secs(1), asker.send(Frame::Input(data.clone())))
            .await
            .is_ok()
        {}
    };
    let served = command::serve(&engine, COPY, &command, false, true, &mut host);
    let (ended, ()) = tokio::join!(tokio::time::timeout(Duration::from_secs(120), served), typing);
    assert!(
        matches!(ended, Ok(Err(Ended::Gone(_)))),
        "{:?}",
        ended.map(|ended| ended.map_err(|e| e.to_string()))
    );
}
