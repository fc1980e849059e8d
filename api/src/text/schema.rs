//! JSON Schemas for editors, made from the same types that documents are read by.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::healthcheck::HealthCheckSpec;
use crate::host::HostSpec;
use crate::meta::{API_VERSION, Kind, Metadata};
use crate::network::NetworkSpec;

use super::keys::{self, Verdict};
use super::raw;

/// The dialect that YAML language servers speak.
const DIALECT: &str = "http://json-schema.org/draft-07/schema#";

/// The JSON Schema of a kind's documents.
pub fn schema(kind: Kind) -> Value {
    let mut generator = generator();
    let mut document = document(kind, &mut generator);
    let definitions = finished(&mut generator);
    let mut schema = json!({"$schema": DIALECT, "title": format!("evenkeel {kind}")});
    merge(&mut schema, document.take());
    merge(&mut schema, json!({"definitions": definitions}));
    complete(kind, &mut schema);
    open(&mut schema);
    schema
}

/// The JSON Schema of documents of any kind.
pub fn schema_of_all() -> Value {
    let mut generator = generator();
    let documents = Kind::ALL.map(|kind| document(kind, &mut generator));
    let definitions = finished(&mut generator);
    let mut schema =
        json!({"$schema": DIALECT, "title": "evenkeel", "definitions": definitions, "oneOf": documents});
    for (index, kind) in Kind::ALL.into_iter().enumerate() {
        let branch = schema["oneOf"][index].take();
        let mut whole = json!({"definitions": schema["definitions"].take()});
        merge(&mut whole, branch);
        complete(kind, &mut whole);
        schema["definitions"] = whole["definitions"].take();
        if let Some(whole) = whole.as_object_mut() {
            whole.remove("definitions");
        }
        schema["oneOf"][index] = whole;
    }
    open(&mut schema);
    schema
}

fn generator() -> SchemaGenerator {
    SchemaSettings::draft07().into_generator()
}

fn finished(generator: &mut SchemaGenerator) -> Value {
    Value::Object(generator.take_definitions(true))
}

fn merge(into: &mut Value, from: Value) {
    if let (Some(into), Value::Object(from)) = (into.as_object_mut(), from) {
        into.extend(from);
    }
}

/// The envelope of a kind around its spec.
fn document(kind: Kind, generator: &mut SchemaGenerator) -> Value {
    let spec = match kind {
        Kind::Service => subschema::<raw::Service>(generator),
        Kind::Network => subschema::<NetworkSpec>(generator),
        Kind::HealthCheck => subschema::<HealthCheckSpec>(generator),
        Kind::Host => subschema::<HostSpec>(generator),
    };
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["apiVersion", "kind", "spec"],
        "properties": {
            "apiVersion": {"const": API_VERSION},
            "kind": {"const": kind.to_string()},
            "metadata": subschema::<Metadata>(generator),
            "spec": spec,
        },
    })
}

fn subschema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}

/// Adds the keys that are accepted without effect: the types know nothing of them.
fn complete(kind: Kind, schema: &mut Value) {
    for row in keys::rows(kind) {
        let (Verdict::Ignored(why) | Verdict::Silent(why)) = row.verdict else { continue };
        let mut property = json!({"description": format!("Ignored: {why}")});
        if let Some(value) = row.value {
            property["const"] = json!(value);
        }
        let mut steps: Vec<&str> = vec!["spec"];
        steps.extend(row.key.split('.'));
        if let Some(name) = steps.pop() {
            add(schema, "", &steps, name, &property);
        }
    }
}

/// Adds a property to every object that a path leads to, through references and alternatives.
fn add(root: &mut Value, at: &str, steps: &[&str], name: &str, property: &Value) {
    let Some(here) = root.pointer(at).cloned() else { return };
    if let Some(reference) = here.get("$ref").and_then(Value::as_str) {
        let target = reference.trim_start_matches('#').to_owned();
        return add(root, &target, steps, name, property);
    }
    for word in ["oneOf", "anyOf", "allOf"] {
        let count = here.get(word).and_then(Value::as_array).map_or(0, Vec::len);
        for index in 0..count {
            add(root, &format!("{at}/{word}/{index}"), steps, name, property);
        }
    }
    let Some((step, rest)) = steps.split_first() else {
        if let Some(Value::Object(properties)) = root.pointer_mut(&format!("{at}/properties")) {
            properties.entry(name).or_insert_with(|| property.clone());
        }
        return;
    };
    let next: &[String] = &match *step {
        "*" => vec![format!("{at}/items"), format!("{at}/additionalProperties")],
        step => vec![format!("{at}/properties/{step}")],
    };
    for next in next {
        add(root, next, rest, name, property);
    }
}

/// Lets `x-` keys stand in every object of named fields, as the reader does.
fn open(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            object.values_mut().for_each(open);
            if object.get("additionalProperties") == Some(&Value::Bool(false)) {
                let mut pattern = Map::new();
                pattern.insert("^x-".to_owned(), json!({}));
                object.insert("patternProperties".to_owned(), Value::Object(pattern));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(open),
        _ => {}
    }
}
