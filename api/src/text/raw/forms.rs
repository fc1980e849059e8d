//! The forms that several Compose keys share: list or mapping, one or many, words or a line.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// Text that may be written as a number or as true or false.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Scalar(pub String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

impl JsonSchema for Scalar {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Scalar".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "number", "boolean"]})
    }
}

/// Pairs as a list of `NAME=value` or as a mapping. `BARE`: a name without a value is empty text; otherwise it
/// is refused, since it would take its value from a shell that is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PairsOf<const BARE: bool>(pub BTreeMap<String, String>);

/// Pairs among which a name without a value is empty.
pub(crate) type Pairs = PairsOf<true>;
/// Pairs all of which need a value.
pub(crate) type Environment = PairsOf<false>;

const NO_VALUE: &str = "this name has no value: Compose would take it from the shell of whoever deploys, and a \
                        stored document has none; write NAME=value, or NAME= for an empty one";

struct Item<const BARE: bool>(String, String);

impl<'de, const BARE: bool> Deserialize<'de> for Item<BARE> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.split_once('=') {
            Some(("", _)) => Err(de::Error::custom("a name must stand before the `=`")),
            Some((name, value)) => Ok(Self(name.to_owned(), value.to_owned())),
            None if BARE => Ok(Self(text, String::new())),
            None => Err(de::Error::custom(NO_VALUE)),
        }
    }
}

struct ItemValue<const BARE: bool>(String);

impl<'de, const BARE: bool> Deserialize<'de> for ItemValue<BARE> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Option::<Scalar>::deserialize(deserializer)? {
            Some(Scalar(text)) => Ok(Self(text)),
            None if BARE => Ok(Self(String::new())),
            None => Err(de::Error::custom(NO_VALUE)),
        }
    }
}

impl<'de, const BARE: bool> Deserialize<'de> for PairsOf<BARE> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pair<const BARE: bool>;
        impl<'de, const BARE: bool> Visitor<'de> for Pair<BARE> {
            type Value = PairsOf<BARE>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping, or a list of NAME=value")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut pairs = BTreeMap::new();
                while let Some(Item::<BARE>(name, value)) = items.next_element()? {
                    pairs.insert(name, value);
                }
                Ok(PairsOf(pairs))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
                let mut pairs = BTreeMap::new();
                while let Some((name, ItemValue::<BARE>(value))) = entries.next_entry::<String, _>()? {
                    pairs.insert(name, value);
                }
                Ok(PairsOf(pairs))
            }
        }
        deserializer.deserialize_any(Pair::<BARE>)
    }
}

impl<const BARE: bool> JsonSchema for PairsOf<BARE> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        if BARE { "Pairs".into() } else { "Environment".into() }
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let (item, value) = if BARE {
            (
                json_schema!({"type": "string"}),
                json_schema!({"type": ["string", "number", "boolean", "null"]}),
            )
        } else {
            (
                json_schema!({"type": "string", "pattern": "^[^=]+="}),
                json_schema!({"type": ["string", "number", "boolean"]}),
            )
        };
        json_schema!({"oneOf": [
            {"type": "object", "additionalProperties": value},
            {"type": "array", "items": item},
        ]})
    }
}

/// One text, or a list of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct OneOrMany(pub Vec<String>);

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_any(Listed {
                short: |text: &str| Ok(vec![text.to_owned()]),
                expecting: "text or a list of texts",
            })
            .map(Self)
    }
}

impl JsonSchema for OneOrMany {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "OneOrMany".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})
    }
}

/// A command: a list of words, or a line that is split into words as a shell would, without being a shell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Words {
    /// The words.
    pub words: Vec<String>,
    /// Whether they were one line.
    pub split: bool,
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Line;
        impl<'de> Visitor<'de> for Line {
            type Value = Words;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a line or a list of words")
            }
            fn visit_str<E: de::Error>(self, line: &str) -> Result<Words, E> {
                let words = super::words::split(line).map_err(E::custom)?;
                Ok(Words { words, split: true })
            }
            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Words, A::Error> {
                Ok(Words { words: texts(items)?, split: false })
            }
        }
        deserializer.deserialize_any(Line)
    }
}

impl JsonSchema for Words {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Words".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A list of words, or a line that is split as a shell would, without being a shell",
            "oneOf": [{"type": "string"}, {"type": "array", "items": {"type": ["string", "number", "boolean"]}}],
        })
    }
}

fn texts<'de, A: SeqAccess<'de>>(mut items: A) -> Result<Vec<String>, A::Error> {
    let mut list = Vec::new();
    while let Some(Scalar(text)) = items.next_element()? {
        list.push(text);
    }
    Ok(list)
}

struct Listed {
    short: fn(&str) -> Result<Vec<String>, String>,
    expecting: &'static str,
}

impl<'de> Visitor<'de> for Listed {
    type Value = Vec<String>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expecting)
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<String>, E> {
        (self.short)(text).map_err(E::custom)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Vec<String>, A::Error> {
        texts(items)
    }
}

/// One thing in a short form, a scalar, or in a long one, a mapping of the keys of `L`.
pub(crate) struct Either<T, L> {
    expecting: &'static str,
    short: fn(&str) -> Result<T, String>,
    long: fn(L) -> Result<T, String>,
    form: PhantomData<L>,
}

impl<T, L> Either<T, L> {
    /// Reads one.
    pub fn read<'de, D: Deserializer<'de>>(
        deserializer: D,
        expecting: &'static str,
        short: fn(&str) -> Result<T, String>,
        long: fn(L) -> Result<T, String>,
    ) -> Result<T, D::Error>
    where
        L: Deserialize<'de>,
    {
        // Asked for a struct, so that `x-` keys are left out of the long form.
        deserializer.deserialize_struct("", &[], Either { expecting, short, long, form: PhantomData })
    }
}

impl<'de, T, L: Deserialize<'de>> Visitor<'de> for Either<T, L> {
    type Value = T;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expecting)
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.short)(text).map_err(E::custom)
    }
    fn visit_u64<E: de::Error>(self, n: u64) -> Result<T, E> {
        self.visit_str(&n.to_string())
    }
    fn visit_i64<E: de::Error>(self, n: i64) -> Result<T, E> {
        self.visit_str(&n.to_string())
    }
    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<T, A::Error> {
        let long = L::deserialize(de::value::MapAccessDeserializer::new(entries))?;
        (self.long)(long).map_err(de::Error::custom)
    }
}

/// A type whose schema is that of its long form, or a scalar of `$short`.
macro_rules! either_schema {
    ($name:ident, $long:ty, $short:tt) => {
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let long = generator.subschema_for::<$long>();
                schemars::json_schema!({"oneOf": [{"type": $short}, long]})
            }
        }
    };
}
pub(crate) use either_schema;
