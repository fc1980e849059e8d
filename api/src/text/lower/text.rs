//! Single texts that have rules of their own.

use crate::quantity::Bytes;

use super::super::error::Fault;
use super::super::suggest::nearest;
use super::Result;

pub(super) fn image(image: String) -> Result<String> {
    let good = !image.is_empty() && image.chars().all(|c| c.is_ascii_graphic());
    if good {
        return Ok(image);
    }
    Err(Fault::on(["image"], format!("{image:?} is no image: write it like registry.lan:5000/shop/web:1.4")))
}

/// An empty one is none: that is what a variable without a value leaves.
pub(super) fn platform(platform: Option<String>) -> Result<Option<String>> {
    let Some(platform) = platform.filter(|text| !text.is_empty()) else { return Ok(None) };
    let parts = platform.split('/').filter(|part| !part.is_empty()).count();
    if (2..=3).contains(&parts) && parts == platform.split('/').count() {
        return Ok(Some(platform));
    }
    Err(Fault::on(
        ["platform"],
        format!("{platform:?} is no platform: write it like linux/amd64 or linux/arm64/v8"),
    ))
}

pub(super) fn hostname(key: &str, name: String) -> Result<String> {
    if name.contains("{{") {
        return Err(Fault::on(
            [key],
            format!("{name:?}: templates are not filled in; write a name, or leave it out"),
        ));
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() <= 253 && name.split('.').all(label) {
        return Ok(name);
    }
    Err(Fault::on(
        [key],
        format!("{name:?} is no host name: letters, digits and '-', with dots between labels"),
    ))
}

pub(super) fn working_dir(path: String) -> Result<String> {
    if path.starts_with('/') {
        return Ok(path);
    }
    Err(Fault::on(["working_dir"], format!("{path:?} is not absolute; it must begin with /")))
}

pub(super) fn capabilities(key: &str, names: Option<Vec<String>>) -> Result<Vec<String>> {
    let mut capabilities = Vec::new();
    for (index, name) in names.unwrap_or_default().into_iter().enumerate() {
        let upper = name.to_ascii_uppercase();
        let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
        if bare.is_empty() || !bare.bytes().all(|b| b.is_ascii_uppercase() || b == b'_') {
            let problem = format!("{name:?} is no capability: write it like NET_ADMIN");
            return Err(Fault::on([key, &index.to_string()], problem));
        }
        capabilities.push(bare.to_owned());
    }
    Ok(capabilities)
}

/// Compose takes `:` where the engine has gone over to `=`.
pub(super) fn security_opt(options: Option<Vec<String>>) -> Result<Vec<String>> {
    options
        .unwrap_or_default()
        .into_iter()
        .enumerate()
        .map(|(index, option)| {
            let (name, value) = option.split_once(['=', ':']).unwrap_or((&option, ""));
            match name {
                "seccomp" if !matches!(value, "unconfined" | "builtin") => Err(Fault::on(
                    ["security_opt", &index.to_string()],
                    format!("{option:?}: the profile is a file on another machine; write seccomp=unconfined or leave it out"),
                )),
                "seccomp" | "apparmor" | "label" => Ok(format!("{name}={value}")),
                _ => Ok(option),
            }
        })
        .collect()
}

pub(super) fn signal(signal: String) -> Result<String> {
    let good = signal.parse::<u8>().is_ok_and(|n| (1..=64).contains(&n))
        || (signal.len() > 3
            && signal.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b"+-".contains(&b)));
    if good {
        return Ok(signal);
    }
    Err(Fault::on(["stop_signal"], format!("{signal:?} is no signal: write it like SIGTERM, or as a number")))
}

pub(super) fn cpuset(cpus: String) -> Result<String> {
    let number = |text: &str| text.parse::<u16>().is_ok();
    let part =
        |part: &str| part.split_once('-').map_or_else(|| number(part), |(a, b)| number(a) && number(b));
    if cpus.split(',').all(part) {
        return Ok(cpus);
    }
    Err(Fault::on(["cpuset"], format!("{cpus:?} is no set of CPUs: write it like 0-2,4")))
}

/// Memory and swap together, in bytes; -1 is without limit.
pub(super) fn swap(text: &str) -> Result<i64> {
    if text == "-1" {
        return Ok(-1);
    }
    let fault = |problem: String| Fault::on(["memswap_limit"], problem);
    let Bytes(bytes) =
        text.parse().map_err(|error: crate::quantity::QuantityError| fault(error.to_string()))?;
    i64::try_from(bytes).map_err(|_| fault(format!("{text:?} is more than any machine has")))
}

pub(super) fn one_of(key: &str, word: String, known: &[&str]) -> Result<String> {
    if known.contains(&word.as_str()) {
        return Ok(word);
    }
    let problem = format!("`{word}` is not one of {}", known.join(", "));
    Err(Fault::on([key], problem).near(nearest(&word, known.iter().copied())))
}
