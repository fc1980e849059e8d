//! A host's Docker engine, asked over its socket: a hundred times faster than by a CLI, and its own clock
//! is the one that restarts are measured by.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use evenkeel_api::name::InstanceId;
use serde_json::Value;

use super::Lab;

/// One engine.
#[derive(Debug, Clone)]
pub struct Engine {
    socket: PathBuf,
}

/// One container, as far as cases look at it.
#[derive(Debug, Clone)]
pub struct Container {
    /// The engine's id.
    pub id: String,
    /// Its name; of ours: the instance.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it runs.
    pub running: bool,
    /// All that the engine says.
    pub raw: Value,
}

impl Container {
    /// Which copy it is: by its label, as people may give it another name.
    pub fn instance(&self) -> InstanceId {
        let id = self.labels.get("evenkeel.instance").unwrap_or(&self.name);
        id.parse().unwrap_or_else(|error| panic!("container {} is no copy of ours: {error}", self.name))
    }

    /// Its address on a network of ours.
    pub fn address(&self, network: &str) -> String {
        self.raw["NetworkSettings"]["Networks"][format!("ek-{network}")]["IPAddress"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// When it was last started, as the engine writes it.
    pub fn started(&self) -> String {
        self.raw["State"]["StartedAt"].as_str().unwrap_or_default().to_owned()
    }

    /// When it last ended, as the engine writes it.
    pub fn finished(&self) -> String {
        self.raw["State"]["FinishedAt"].as_str().unwrap_or_default().to_owned()
    }

    /// The image that its document named.
    pub fn image(&self) -> String {
        self.raw["Config"]["Image"].as_str().unwrap_or_default().to_owned()
    }
}

impl Lab {
    /// A host's engine.
    pub fn engine(&self, host: &str) -> Engine {
        Engine { socket: self.file(&format!("{host}/run/docker.sock")) }
    }

    /// The copies on a host: all containers of services.
    pub fn containers(&self, host: &str) -> Vec<Container> {
        self.engine(host)
            .labelled("evenkeel.service")
            .unwrap_or_else(|error| panic!("containers of {host}: {error}"))
    }

    /// The copies of a service, `namespace/name`, that run, with their hosts.
    pub fn copies(&self, service: &str) -> Vec<(String, Container)> {
        self.copies_on(&self.hosts(), service)
    }

    /// The copies of a service, `namespace/name`, that run on these hosts.
    pub fn copies_on(&self, hosts: &[String], service: &str) -> Vec<(String, Container)> {
        let mut found = Vec::new();
        for host in hosts {
            let containers = self.containers(host).into_iter().filter(|container| container.running);
            found.extend(containers.map(|container| (host.clone(), container)));
        }
        found.retain(|(_, container)| container.instance().service.to_string() == service);
        found
    }
}

impl Engine {
    /// At that socket.
    pub fn at(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// A request; its status and body.
    ///
    /// # Errors
    /// The engine does not answer, or not in JSON.
    pub fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Result<(u16, Value), String> {
        let mut stream = self.send(method, path, body).map_err(|error| error.to_string())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).map_err(|error| error.to_string())?;
        let answer = String::from_utf8_lossy(&answer);
        let (head, text) = answer.split_once("\r\n\r\n").ok_or("an answer without a head")?;
        let status =
            head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or("an answer without a status")?;
        let value = if text.trim().is_empty() {
            Value::Null
        } else {
            serde_json::from_str(text).map_err(|e| e.to_string())?
        };
        Ok((status, value))
    }

    fn send(&self, method: &str, path: &str, body: Option<&Value>) -> std::io::Result<UnixStream> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let body = body.map(Value::to_string).unwrap_or_default();
        // 1.0: the answer comes in one piece, and ends with the connection.
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: engine\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        Ok(stream)
    }

    /// GET, which must succeed.
    ///
    /// # Errors
    /// The engine does not answer, or refuses.
    pub fn get(&self, path: &str) -> Result<Value, String> {
        let (status, value) = self.request("GET", path, None)?;
        if status == 200 { Ok(value) } else { Err(format!("{path}: {status} {value}")) }
    }

    /// One container.
    ///
    /// # Errors
    /// There is none, or the engine does not answer.
    pub fn container(&self, name: &str) -> Result<Container, String> {
        self.get(&format!("/containers/{name}/json")).map(container)
    }

    /// All containers with a label.
    ///
    /// # Errors
    /// The engine does not answer.
    pub fn labelled(&self, label: &str) -> Result<Vec<Container>, String> {
        let list =
            self.get(&format!("/containers/json?all=1&filters=%7B%22label%22%3A%5B%22{label}%22%5D%7D"))?;
        let ids: Vec<&str> =
            list.as_array().into_iter().flatten().filter_map(|entry| entry["Id"].as_str()).collect();
        // One that is removed meanwhile is not there any more.
        Ok(ids.into_iter().filter_map(|id| self.container(id).ok()).collect())
    }

    /// Events of containers, as they come: action, name, and the engine's time in nanoseconds.
    ///
    /// # Errors
    /// The engine does not answer.
    pub fn events(&self) -> Result<impl Iterator<Item = (String, String, i64)> + use<>, String> {
        let path = "/events?filters=%7B%22type%22%3A%5B%22container%22%5D%7D";
        let stream = self.send("GET", path, None).map_err(|error| error.to_string())?;
        stream.set_read_timeout(None).map_err(|error| error.to_string())?;
        let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
        // The head ends with an empty line.
        lines.by_ref().find(String::is_empty).ok_or("no events")?;
        Ok(lines.filter_map(|line| {
            let event: Value = serde_json::from_str(&line).ok()?;
            let name = event["Actor"]["Attributes"]["name"].as_str()?.to_owned();
            Some((event["Action"].as_str()?.to_owned(), name, event["timeNano"].as_i64()?))
        }))
    }
}

fn container(raw: Value) -> Container {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Container {
        id: text(&raw["Id"]),
        name: text(&raw["Name"]).trim_start_matches('/').to_owned(),
        labels: serde_json::from_value(raw["Config"]["Labels"].clone()).unwrap_or_default(),
        running: raw["State"]["Running"].as_bool().unwrap_or(false),
        raw,
    }
}

/// Milliseconds between two times as the engine writes them (`2025-01-31T10:11:12.123456789Z`), at most a
/// day apart.
pub fn milliseconds(from: &str, to: &str) -> f64 {
    let day = 86_400e3;
    let of = |text: &str| -> f64 {
        let clock = text.split_once('T').map_or("", |(_, clock)| clock).trim_end_matches('Z');
        let mut parts = clock.split(':').map(|part| part.parse::<f64>().unwrap_or(f64::NAN));
        let mut next = || parts.next().unwrap_or(f64::NAN);
        (next() * 3600.0 + next() * 60.0 + next()) * 1e3
    };
    let difference = of(to) - of(from);
    if difference < -day / 2.0 { difference + day } else { difference }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_the_engine_are_compared() {
        let ms = milliseconds("2025-01-31T10:11:12.5Z", "2025-01-31T10:11:13.75Z");
        assert!((ms - 1250.0).abs() < 1e-6, "{ms}");
        let ms = milliseconds("2025-01-31T23:59:59.9Z", "2025-02-01T00:00:00.1Z");
        assert!((ms - 200.0).abs() < 1e-6, "{ms}");
    }
}
