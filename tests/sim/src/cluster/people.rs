//! What people do: documents, words about rollouts, and that they try again until they are heard.

use evenkeel_api::key::{Key, prefix};
use evenkeel_api::meta::{Kind, ObjectRef};
use evenkeel_api::name::ServiceId;
use evenkeel_api::record::{Confirmed, Pin};
use evenkeel_runtime::store::{Store, TxnBuilder};

use super::{Cluster, Wish};
use crate::act::Word;
use crate::documents::{NETWORK, Service};
use crate::host::address;
use crate::pins;

impl Cluster {
    /// People try to get into the store what they want there.
    pub async fn people(&mut self) {
        self.look_after_the_past().await;
        if self.wishes.is_empty() {
            return;
        }
        let person = self.store.client(0);
        while let Some(wish) = self.wishes.first() {
            let txn = wish.iter().fold(TxnBuilder::new(), |txn, (key, value)| match value {
                Some(value) => txn.put(key, value.clone()),
                None => txn.delete(key),
            });
            let Ok(txn) = txn.build() else { break };
            match person.commit(&txn).await {
                Ok(done) => {
                    let keys: Vec<String> = wish.iter().map(|(key, _)| key.to_string()).collect();
                    self.timeline.say("user", &format!("{} {}", done.header.revision, keys.join(" ")));
                    self.wishes.remove(0);
                }
                Err(_) => break,
            }
        }
    }

    /// Whether people have got all that they want into the store.
    pub fn is_heard(&self) -> bool {
        self.wishes.is_empty() && self.is_sure()
    }

    pub(super) fn apply(&mut self, service: &Service) {
        let check = service.checked.then(|| service.check_text().into_bytes());
        self.wishes
            .push(vec![(service.key(), Some(service.text().into_bytes())), (service.check_key(), check)]);
        self.wanted.insert(service.name.clone(), service.clone());
        if service.exclusive {
            self.exclusive.insert(service.name.clone());
        }
    }

    pub(super) fn availability(&mut self, number: u8, availability: &str) {
        let name = self.host(number).name.clone();
        let text = format!(
            "apiVersion: evenkeel/v1\nkind: Host\nmetadata: {{name: {name}}}\n\
             spec: {{address: {}, availability: {availability}}}\n",
            address(number)
        );
        let key = Key::Document(ObjectRef::Host(name));
        self.wishes.push(vec![(key, Some(text.into_bytes()))]);
    }

    /// A person says something about a rollout, if the command takes it.
    pub(super) fn say(&mut self, id: &ServiceId, word: Word, pick: u64) {
        let Some(pin) = pins::say(&self.store, id, word, pick) else { return };
        let value = if pin == Pin::default() { None } else { serde_json::to_vec(&pin).ok() };
        self.wishes.push(vec![(Key::Pin(id.clone()), value)]);
    }

    pub(super) fn delete(&mut self, id: &ServiceId) {
        let object = ObjectRef::Service(id.clone());
        let check = ObjectRef::HealthCheck(id.clone());
        self.wishes.push(vec![(Key::Document(object.clone()), None), (Key::Document(check), None)]);
        self.wanted.remove(id.name.as_str());
        self.deleted.insert(object);
    }

    /// People put all that they want, and remove what they do not.
    pub(super) fn insist(&mut self) {
        let network: Option<Wish> = "networks/lan".parse().ok().map(|key| vec![(key, Some(NETWORK.into()))]);
        self.wishes.extend(network);
        for service in self.wanted.values().cloned().collect::<Vec<_>>() {
            self.apply(&service);
        }
        let documents = self.store.peek(&prefix::documents(Kind::Service));
        for key in documents.iter().filter_map(|kv| kv.key.parse::<Key>().ok()) {
            if let Key::Document(ObjectRef::Service(id)) = key
                && !self.wanted.contains_key(id.name.as_str())
            {
                self.delete(&id);
            }
        }
        if self.mended {
            for number in 1..=self.hosts.len() as u8 {
                self.availability(number, "active");
            }
            let pins = self.store.peek(&prefix::pins());
            let pins = pins.iter().filter_map(|kv| kv.key.parse::<Key>().ok());
            self.wishes.extend(pins.map(|key| vec![(key, None)]));
        }
        self.confirm();
    }

    /// Whatever was deleted was meant.
    fn confirm(&mut self) {
        let objects = self.deleted.clone();
        let meant = Confirmed { by: "people".to_owned(), what: "all of it".to_owned(), objects };
        self.wishes.extend(serde_json::to_vec(&meant).ok().map(|meant| vec![(Key::Confirmed, Some(meant))]));
    }
}
