//! Durations (`1m30s`), sizes (`256M`, of 1024) and CPUs (`"0.5"`) as Compose writes them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Why a text is no quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not a duration.
    #[error("{0:?} is not a duration: write it like 1m30s, 500ms or 2h")]
    Duration(String),
    /// Not a size.
    #[error("{0:?} is not a size: write it like 256M or 1.5G (k, M, G and T count in 1024)")]
    Size(String),
    /// Not a number of CPUs.
    #[error("{0:?} is not a number of CPUs: write it like \"0.5\", at most three decimals")]
    Cpus(String),
}

/// A length of time, to the microsecond.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub Duration);

impl Span {
    /// A span of whole seconds.
    pub const fn seconds(n: u64) -> Self {
        Self(Duration::from_secs(n))
    }

    /// A span of whole milliseconds.
    pub const fn millis(n: u64) -> Self {
        Self(Duration::from_millis(n))
    }
}

/// The units of a duration, largest first, with their length in microseconds.
const UNITS: [(&str, u64); 6] = [
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

impl FromStr for Span {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let bad = || QuantityError::Duration(text.to_owned());
        if text == "0" {
            return Ok(Self::default());
        }
        let mut rest = text;
        let mut total: u64 = 0;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
            let number: f64 = rest[..digits].parse().map_err(|_| bad())?;
            rest = &rest[digits..];
            let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
            let (_, unit) = UNITS.iter().find(|(name, _)| *name == &rest[..end]).ok_or_else(bad)?;
            let micros = number * *unit as f64;
            if micros > 1e17 {
                return Err(bad());
            }
            total = total.checked_add(micros.round() as u64).ok_or_else(bad)?;
            rest = &rest[end..];
        }
        if text.is_empty() { Err(bad()) } else { Ok(Self(Duration::from_micros(total))) }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_micros() as u64;
        if rest == 0 {
            return f.write_str("0s");
        }
        for (name, unit) in UNITS.iter().filter(|(name, _)| *name != "d") {
            if rest >= *unit {
                write!(f, "{}{name}", rest / unit)?;
                rest %= unit;
            }
        }
        Ok(())
    }
}

/// A size in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

impl FromStr for Bytes {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let bad = || QuantityError::Size(text.to_owned());
        let lower = text.trim().to_ascii_lowercase();
        let end = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
        let number: f64 = lower[..end].parse().map_err(|_| bad())?;
        let shift = match lower[end..].trim() {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 10,
            "m" | "mb" | "mib" => 20,
            "g" | "gb" | "gib" => 30,
            "t" | "tb" | "tib" => 40,
            _ => return Err(bad()),
        };
        let bytes = number * (1u64 << shift) as f64;
        if bytes > 9e18 { Err(bad()) } else { Ok(Self(bytes as u64)) }
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, shift) in [("G", 30), ("M", 20), ("k", 10)] {
            if self.0 >= 1 << shift && self.0.is_multiple_of(1 << shift) {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}", self.0)
    }
}

/// CPUs, in thousandths of one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MilliCpus(pub u64);

impl FromStr for MilliCpus {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let bad = || QuantityError::Cpus(text.to_owned());
        let number: f64 = text.trim().parse().map_err(|_| bad())?;
        let milli = number * 1000.0;
        if !(0.0..=1e9).contains(&milli) || (milli - milli.round()).abs() > 1e-6 {
            return Err(bad());
        }
        Ok(Self(milli.round() as u64))
    }
}

impl fmt::Display for MilliCpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0 as f64 / 1000.0)
    }
}

macro_rules! quantity_serde {
    ($name:ident, $pattern:literal, $says:literal, $expects:literal, $number:expr) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl de::Visitor<'_> for Visitor {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expects)
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                    fn visit_u64<E: de::Error>(self, n: u64) -> Result<$name, E> {
                        if $number { self.visit_str(&n.to_string()) } else { Err(E::custom(concat!("expected ", $expects, ", with its unit"))) }
                    }
                    fn visit_i64<E: de::Error>(self, n: i64) -> Result<$name, E> {
                        u64::try_from(n).map_err(|_| E::custom(concat!("expected ", $expects))).and_then(|n| self.visit_u64(n))
                    }
                    fn visit_f64<E: de::Error>(self, n: f64) -> Result<$name, E> {
                        if $number { self.visit_str(&n.to_string()) } else { Err(E::custom(concat!("expected ", $expects, ", with its unit"))) }
                    }
                }
                deserializer.deserialize_any(Visitor)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": if $number { vec!["string", "number"] } else { vec!["string"] }, "pattern": $pattern, "description": $says})
            }
        }
    };
}

quantity_serde!(
    Span,
    "^(0|([0-9]+(\\.[0-9]+)?(us|ms|s|m|h|d))+)$",
    "A length of time, like 1m30s",
    "a duration like 1m30s",
    false
);
quantity_serde!(
    Bytes,
    "^[0-9]+(\\.[0-9]+)? ?([kKmMgGtT]i?)?[bB]?$",
    "A size, like 256M (of 1024)",
    "a size like 256M",
    true
);
quantity_serde!(
    MilliCpus,
    "^[0-9]+(\\.[0-9]{1,3})?$",
    "A number of CPUs, like \"0.5\"",
    "a number of CPUs like \"0.5\"",
    true
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, micros, shown) in [
            ("1m30s", 90_000_000, "1m30s"),
            ("90s", 90_000_000, "1m30s"),
            ("1.5s", 1_500_000, "1s500ms"),
            ("200ms", 200_000, "200ms"),
            ("1d", 86_400_000_000, "24h"),
            ("0", 0, "0s"),
        ] {
            let span: Span = text.parse().unwrap();
            assert_eq!((span.0.as_micros() as u64, span.to_string().as_str()), (micros, shown), "{text}");
        }
        for text in ["", "5", "s", "1x", "1m30", "-1s", "1e30h"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_and_cpus() {
        assert_eq!("256mb".parse::<Bytes>().unwrap(), Bytes(256 << 20));
        assert_eq!("1.5G".parse::<Bytes>().unwrap(), Bytes(3 << 29));
        assert_eq!("512M".parse::<Bytes>().unwrap().to_string(), "512M");
        assert!("12q".parse::<Bytes>().is_err());
        assert_eq!("0.70".parse::<MilliCpus>().unwrap(), MilliCpus(700));
        assert!("0.0005".parse::<MilliCpus>().is_err());
        assert!("nan".parse::<MilliCpus>().is_err());
    }

    #[test]
    fn numbers_are_taken_where_compose_takes_them() {
        assert_eq!(serde_json::from_str::<MilliCpus>("0.5").unwrap(), MilliCpus(500));
        assert_eq!(serde_json::from_str::<Bytes>("1048576").unwrap(), Bytes(1 << 20));
        assert!(serde_json::from_str::<Span>("5").is_err());
    }
}
