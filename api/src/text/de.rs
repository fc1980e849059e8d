//! From the tree to types: a serde deserializer that knows where it stands, and speaks to people.

use std::fmt::{self, Display};

use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;

use super::error::Fault;
use super::node::{Entry, Node, Number, Value};
use super::suggest::nearest;

/// Reads a type from a tree.
pub(crate) fn read<T: DeserializeOwned>(node: &Node) -> Result<T, Fault> {
    T::deserialize(Reader(node)).map_err(|fault| fault.at(node.at))
}

#[derive(Clone, Copy)]
struct Reader<'n>(&'n Node);

impl<'n> Reader<'n> {
    /// `objects`: mappings here are of named fields, among which `x-` keys are for other tools. In a free
    /// mapping, like labels, such a key is a key like any other.
    fn any<'de, V: Visitor<'de>>(self, visitor: V, objects: bool) -> Result<V::Value, Fault> {
        match &self.0.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(Number::Signed(n), _) => visitor.visit_i64(*n),
            Value::Number(Number::Unsigned(n), _) => visitor.visit_u64(*n),
            Value::Number(Number::Float(n), _) => visitor.visit_f64(*n),
            Value::Text(text) => visitor.visit_str(text),
            Value::List(items) => visitor.visit_seq(Items { items: items.iter(), index: 0 }),
            Value::Map(entries) => {
                visitor.visit_map(Entries { entries: entries.iter(), value: None, objects })
            }
        }
        .map_err(|fault: Fault| fault.at(self.0.at))
    }

    /// A whole number that stands in quotes, as it does after `"${N}"` was substituted.
    fn quoted_integer(self) -> Option<i128> {
        match &self.0.value {
            Value::Text(text) => text.parse().ok(),
            _ => None,
        }
    }
}

macro_rules! integers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            let number = self.quoted_integer().map(|n| (i64::try_from(n), u64::try_from(n)));
            match number {
                Some((_, Ok(n))) => visitor.visit_u64(n),
                Some((Ok(n), _)) => visitor.visit_i64(n),
                _ => self.any(visitor, false),
            }
            .map_err(|fault: Fault| fault.at(self.0.at))
        }
    )*};
}

macro_rules! texts {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            match self.0.text() {
                Some(text) => visitor.visit_str(text).map_err(|fault: Fault| fault.at(self.0.at)),
                None => self.any(visitor, false),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.any(visitor, false)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.any(visitor, true)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0.text() {
            Some("true") => visitor.visit_bool(true),
            Some("false") => visitor.visit_bool(false),
            _ => self.any(visitor, false),
        }
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match (&self.0.value, self.0.text().and_then(|text| text.parse().ok())) {
            (Value::Text(_), Some(number)) => visitor.visit_f64(number),
            _ => self.any(visitor, false),
        }
    }

    integers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }
    texts! { deserialize_str deserialize_string }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.0.text() {
            Some(text) => visitor.visit_enum(text.into_deserializer()),
            None => Err(Fault::new(format!("a single word is expected here, not {}", kind(self.0)))),
        }
        .map_err(|fault: Fault| fault.at(self.0.at))
    }

    forward_to_deserialize_any! {
        i128 u128 f32 char bytes byte_buf unit unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

fn kind(node: &Node) -> &'static str {
    match node.value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(..) => "a number",
        Value::Text(_) => "text",
        Value::List(_) => "a list",
        Value::Map(_) => "a mapping",
    }
}

struct Items<'n> {
    items: std::slice::Iter<'n, Node>,
    index: usize,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some(item) = self.items.next() else { return Ok(None) };
        self.index += 1;
        seed.deserialize(Reader(item))
            .map(Some)
            .map_err(|fault| fault.at(item.at).within((self.index - 1).to_string()))
    }
}

struct Entries<'n> {
    entries: std::slice::Iter<'n, Entry>,
    value: Option<&'n Entry>,
    objects: bool,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let objects = self.objects;
        let Some(entry) = self.entries.find(|entry| !objects || !entry.key.starts_with("x-")) else {
            return Ok(None);
        };
        self.value = Some(entry);
        let key = IntoDeserializer::<Fault>::into_deserializer(entry.key.as_str());
        seed.deserialize(key).map(Some).map_err(|fault| fault.at(entry.key_at))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Fault> {
        let entry = self.value.take().ok_or_else(|| Fault::new("a value without its key"))?;
        seed.deserialize(Reader(&entry.value)).map_err(|fault| {
            // An absent value has no place of its own that a person would recognise.
            let at = if entry.value.is_null() { entry.key_at } else { entry.value.at };
            fault.at(at).within(entry.key.clone())
        })
    }
}

impl de::Error for Fault {
    fn custom<T: Display>(problem: T) -> Self {
        Fault::new(problem.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Fault::new(format!("expected {}, found {}", plain(&expected.to_string()), Found(found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Fault::new(format!("expected {}, found {}", plain(&expected.to_string()), Found(found)))
    }

    fn unknown_variant(word: &str, expected: &'static [&'static str]) -> Self {
        let known = expected.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
        Fault::new(format!("`{word}` is not one of {known}")).near(nearest(word, expected.iter().copied()))
    }

    fn unknown_field(key: &str, expected: &'static [&'static str]) -> Self {
        let near = nearest(key, expected.iter().copied());
        let known = || match expected {
            [] => "; no key is known here".to_owned(),
            few if few.len() <= 8 => {
                format!(
                    "; known here: {}",
                    few.iter().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", ")
                )
            }
            _ => String::new(),
        };
        let rest = if near.is_some() { String::new() } else { known() };
        let mut fault = Fault::new(format!("unknown key `{key}`{rest}")).near(near);
        fault.unknown = Some(key.to_owned());
        fault
    }

    fn missing_field(field: &'static str) -> Self {
        let mut fault = Fault::new(format!("`{field}` is missing"));
        fault.missing = true;
        fault
    }

    fn duplicate_field(field: &'static str) -> Self {
        Fault::new(format!("the key `{field}` is written twice; keep one of them"))
    }
}

/// What serde expects, in the words of people who write documents.
fn plain(expected: &str) -> String {
    match expected {
        "a string" => "text",
        "a sequence" => "a list",
        "a map" => "a mapping",
        "a boolean" => "true or false",
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number, not below 0",
        "i8" | "i16" | "i32" | "i64" => "a whole number",
        "f32" | "f64" => "a number",
        other if other.starts_with("struct ") => "a mapping",
        other => other,
    }
    .to_owned()
}

struct Found<'a>(Unexpected<'a>);

impl Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Unexpected::Bool(value) => write!(f, "{value}"),
            Unexpected::Unsigned(n) => write!(f, "{n}"),
            Unexpected::Signed(n) => write!(f, "{n}"),
            Unexpected::Float(n) => write!(f, "{n}"),
            Unexpected::Str(text) if text.chars().count() <= 60 => write!(f, "the text {text:?}"),
            Unexpected::Str(_) => f.write_str("a text"),
            Unexpected::Unit | Unexpected::Option => f.write_str("nothing"),
            Unexpected::Seq => f.write_str("a list"),
            Unexpected::Map => f.write_str("a mapping"),
            other => write!(f, "{other}"),
        }
    }
}
