//! The request corpus of the published crate `http_desync_guardian`: 159 requests that proxies and
//! servers were found to read differently. Nothing that it calls severe is accepted.
//!
//! The corpus is third-party text and stays where cargo unpacked it; this test finds it there, and
//! fails if it does not. The same crate's analyser is a second opinion on what we accept.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]

use http_desync_guardian::RequestSafetyTier;
use http_desync_guardian::request_analyzer::HttpRequestData;
use std::path::PathBuf;
use std::process::Command;
use tidegate::http::Limits;
use tidegate::http::h1::Decoder;
use tidegate::http::h1::Fault;
use tidegate::http::h1::Item;

const CASES: usize = 159;

/// Compliant by the corpus, refused here, with the reason.
const REFUSED_THOUGH_COMPLIANT: &[(&str, Fault, &str)] = &[
    (
        "more-compliant-tests: TE with custom parameters OK",
        Fault::TransferEncoding,
        "RFC 9112 section 7.1: parameters of `chunked` should be an error",
    ),
    (
        "rfc-compliant: Transfer-Encoding with a param: chunked;custom_param",
        Fault::TransferEncoding,
        "the same",
    ),
    (
        "rfc-compliant: Compliant URL",
        Fault::Target,
        "RFC 9112 section 3.2: a target has no fragment, and this one does",
    ),
    (
        "rfc-compliant: Empty URI",
        Fault::RequestLine,
        "RFC 9112 section 3.2: none of the four forms of a target is empty",
    ),
];

struct Case {
    label: String,
    tier: String,
    bytes: Vec<u8>,
}

/// The corpus folder, from cargo's own word about where it unpacked the crate.
fn corpus() -> PathBuf {
    // Packages of other platforms need not be unpacked here, so they are left out.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--locked"])
        .args(["--filter-platform", &platform])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo metadata runs");
    assert!(out.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&out.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let packages = metadata["packages"].as_array().expect("metadata lists packages");
    let package = packages
        .iter()
        .find(|p| p["name"] == "http_desync_guardian")
        .expect("http_desync_guardian is a dev-dependency");
    let manifest = PathBuf::from(package["manifest_path"].as_str().unwrap());
    let folder = manifest.parent().unwrap().join("tests");
    assert!(folder.is_dir(), "the corpus is not at {}", folder.display());
    folder
}

fn cases() -> Vec<Case> {
    let mut files: Vec<_> = std::fs::read_dir(corpus())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .collect();
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let entries: Vec<serde_yaml_ng::Value> = serde_yaml_ng::from_str(&text).unwrap();
        let stem = file.file_stem().unwrap().to_string_lossy().into_owned();
        all.extend(entries.iter().map(|entry| case(&stem, entry)));
    }
    assert_eq!(all.len(), CASES, "the whole corpus");
    all
}

fn case(file: &str, entry: &serde_yaml_ng::Value) -> Case {
    let name = text(&entry["name"]);
    let version = text(&entry["version"]);
    let mut bytes = request_line(&text(&entry["method"]), &text(&entry["uri"]), &version);
    let fields: Vec<_> = entry["headers"]
        .as_sequence()
        .into_iter()
        .flatten()
        .map(|h| (text(&h["name"]), text(&h["value"])))
        .collect();
    // The corpus is about framing and leaves Host out; without one every request would be refused.
    if version != "HTTP/1.0" && !fields.iter().any(|(n, _)| n.eq_ignore_ascii_case("host")) {
        bytes.extend_from_slice(b"Host: localhost\r\n");
    }
    for (name, value) in fields {
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    Case { label: format!("{file}: {name}"), tier: text(&entry["expected"]["tier"]), bytes }
}

fn request_line(method: &str, uri: &str, version: &str) -> Vec<u8> {
    // Without a version the request is HTTP/0.9, whose line ends after the target.
    let gap = if version.is_empty() { "" } else { " " };
    format!("{method} {uri}{gap}{version}\r\n").into_bytes()
}

fn text(value: &serde_yaml_ng::Value) -> String {
    match value {
        serde_yaml_ng::Value::String(text) => text.clone(),
        serde_yaml_ng::Value::Number(number) => number.to_string(),
        serde_yaml_ng::Value::Null => String::new(),
        other => panic!("a corpus entry has {other:?} where text belongs"),
    }
}

/// Whether the head is accepted; never answers differently for a different cut.
fn verdict(bytes: &[u8]) -> Result<(), Fault> {
    let read = |step: usize| {
        let (mut decoder, limits) = (Decoder::new(), Limits::default());
        for mut piece in bytes.chunks(step) {
            match decoder.decode(&mut piece, &limits)? {
                Item::Head(head) => return Ok(Some(head)),
                Item::Wait => {}
                other => panic!("{other:?} before a head"),
            }
        }
        Ok(None)
    };
    let whole = read(bytes.len())?;
    assert_eq!(Ok(&whole), read(1).as_ref(), "cut byte by byte");
    assert!(whole.is_some(), "neither a head nor a fault: {:?}", String::from_utf8_lossy(bytes));
    Ok(())
}

#[test]
fn nothing_severe_or_ambiguous_is_accepted() {
    let all = cases();
    let (mut severe, mut ambiguous) = (0, 0);
    for case in &all {
        match case.tier.as_str() {
            "Severe" => severe += 1,
            "Ambiguous" => ambiguous += 1,
            _ => continue,
        }
        let fault = verdict(&case.bytes).expect_err(&case.label);
        assert!([400, 413, 505].contains(&fault.status()), "{}: {fault:?}", case.label);
    }
    assert_eq!((severe, ambiguous), (58, 58));
}

#[test]
fn what_is_compliant_is_accepted() {
    let all = cases();
    let (mut compliant, mut wrong) = (0, Vec::new());
    for case in all.iter().filter(|case| case.tier == "Compliant") {
        compliant += 1;
        let excused = REFUSED_THOUGH_COMPLIANT.iter().find(|(name, _, _)| *name == case.label);
        let want = excused.map_or(Ok(()), |(_, fault, _)| Err(*fault));
        // A large announced body is refused by its size alone, not by its form.
        let got = match verdict(&case.bytes) {
            Err(Fault::BodyTooLarge) => Ok(()),
            got => got,
        };
        if got != want {
            wrong.push(format!("{}: {got:?} instead of {want:?}", case.label));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(compliant, 28);
}

/// The analyser's own verdict on the same bytes: what it calls severe we refuse too.
#[test]
fn the_analyser_agrees_on_severe() {
    let mut severe = 0;
    for case in cases() {
        let opinion = HttpRequestData::analyze_raw_request(&case.bytes);
        if opinion.tier == RequestSafetyTier::Severe {
            severe += 1;
            assert!(verdict(&case.bytes).is_err(), "{}: {:?}", case.label, opinion.reason);
        }
    }
    assert!(severe >= 40, "the analyser saw only {severe} severe requests");
}
