//! The real binary from outside: starts, serves the native API, stops, survives, and refuses what it must.

#![expect(clippy::unwrap_used, reason = "a surprise ends the test")]
#![expect(
    clippy::disallowed_methods,
    reason = "settings that an operator would write need no sync here"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

const BINARY: &str = env!("CARGO_BIN_EXE_halofs");

struct Server {
    child: Child,
    at: BTreeMap<String, String>,
    said: String,
}

fn command(dir: &Path, more: &[&str]) -> Command {
    let mut c = Command::new(BINARY);
    c.arg("server").arg(format!("-dir={}", dir.display()));
    c.args([
        "-main.port=0",
        "-volume.port=0",
        "-filer.port",
        "0",
        "--s3.port=0",
        "-log.level=warn",
    ])
    .args(more);
    c.env_clear().stdin(Stdio::null());
    c
}

impl Server {
    fn start(dir: &Path) -> Self {
        Self::start_with(dir, &[])
    }

    fn start_with(dir: &Path, more: &[&str]) -> Self {
        let mut child = command(dir, more).stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let (mut said, mut at) = (String::new(), BTreeMap::new());
        while at.is_empty() {
            let mut line = String::new();
            assert!(
                out.read_line(&mut line).unwrap() > 0,
                "ended before it was ready:\n{said}"
            );
            if let Some(ready) = line.strip_prefix("ready ") {
                at = ready
                    .split_whitespace()
                    .filter_map(|p| p.split_once('='))
                    .map(own)
                    .collect();
            }
            said.push_str(&line);
        }
        Self { child, at, said }
    }

    fn call(&self, port: &str, method: &str, path: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
        let mut s = TcpStream::connect(&self.at[port]).unwrap();
        write!(s, "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len())
            .unwrap();
        s.write_all(body).unwrap();
        let mut all = Vec::new();
        s.read_to_end(&mut all).unwrap();
        let end = all.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(all[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head, all[end + 4..].to_vec())
    }

    fn assign(&self) -> String {
        let (status, _, body) = self.call("main", "GET", "/dir/assign", b"");
        let v: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(status, 200, "{v}");
        assert_eq!(v["url"].as_str(), Some(self.at["volume"].as_str()));
        v["fid"].as_str().unwrap().to_owned()
    }

    fn upload(&self, body: &[u8]) -> String {
        let fid = self.assign();
        let (status, _, answer) = self.call("volume", "PUT", &format!("/{fid}"), body);
        assert_eq!(status, 201, "{}", String::from_utf8_lossy(&answer));
        fid
    }

    fn expect(&self, fid: &str, want: Option<&[u8]>) {
        let (status, _, body) = self.call("volume", "GET", &format!("/{fid}"), b"");
        match want {
            Some(bytes) => assert!(status == 200 && body == bytes, "{fid}: {status}"),
            None => assert_eq!(status, 404, "{fid}"),
        }
    }

    fn terminate(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn own((k, v): (&str, &str)) -> (String, String) {
    (k.to_owned(), v.to_owned())
}

fn fails(dir: &Path, more: &[&str]) -> String {
    let Output { status, stderr, .. } = command(dir, more).output().unwrap();
    assert!(!status.success());
    String::from_utf8(stderr).unwrap()
}

fn files(dir: &Path, each: &mut impl FnMut(&Path)) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, each);
        } else {
            each(&path);
        }
    }
}

#[test]
fn acknowledged_files_survive_stops_and_kills() {
    let dir = tempfile::tempdir().unwrap();
    let canary = b"canary-0123456789-abcdefghijklmnopqrstuvwxyz";
    let s = Server::start(dir.path());
    assert!(
        s.said.contains("Back up ") && s.said.contains("--profile halofs"),
        "{}",
        s.said
    );
    let kept = s.upload(canary);
    let gone = s.upload(b"x");
    let (status, _, body) = s.call("volume", "DELETE", &format!("/{gone}"), b"");
    assert_eq!(status, 202, "{}", String::from_utf8_lossy(&body));
    s.expect(&kept, Some(canary));
    s.expect(&gone, None);
    let volume = kept.split(',').next().unwrap();
    let (status, head, _) = s.call("main", "GET", &format!("/{kept}?a=b"), b"");
    assert!(
        status == 308 && head.contains(&format!("/{kept}?a=b")),
        "{head}"
    );
    let (status, _, body) = s.call(
        "main",
        "GET",
        &format!("/dir/lookup?volumeId={volume}"),
        b"",
    );
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    for (port, path) in [
        ("main", "/healthz"),
        ("volume", "/healthz"),
        ("filer", "/readyz"),
        ("s3", "/-/healthz"),
        ("main", "/metrics"),
        ("volume", "/metrics"),
        ("filer", "/metrics"),
        ("s3", "/-/metrics"),
    ] {
        assert_eq!(s.call(port, "GET", path, b"").0, 200, "{port}{path}");
    }
    assert_eq!(s.call("filer", "GET", "/some/file", b"").0, 501);
    s.terminate();

    let s = Server::start(dir.path());
    assert!(
        !s.said.contains("Back up "),
        "said once, at the first start"
    );
    s.expect(&kept, Some(canary));
    s.expect(&gone, None);
    let second = s.upload(b"after a stop");
    s.kill();

    let s = Server::start(dir.path());
    s.expect(&kept, Some(canary));
    s.expect(&second, Some(b"after a stop"));
    s.expect(&gone, None);
    assert_ne!(s.assign(), kept);
    s.terminate();

    files(dir.path(), &mut |path| {
        let bytes = std::fs::read(path).unwrap();
        assert!(
            !bytes.windows(canary.len()).any(|w| w == canary),
            "plain text in {}",
            path.display()
        );
        let shown = Command::new(BINARY)
            .arg("inspect")
            .arg(path)
            .output()
            .unwrap();
        let ours =
            path.starts_with(dir.path().join("volumes")) || path.parent() == Some(dir.path());
        let text = String::from_utf8_lossy(&shown.stderr);
        assert!(
            shown.status.success() || !ours,
            "inspect {}: {text}",
            path.display()
        );
    });
    let key = format!("-key.file={}", dir.path().join("root.key").display());
    let vol = dir.path().join(format!("volumes/{volume}.vol"));
    for (path, want) in [
        (vol, kept.as_str()),
        (dir.path().join("main"), "state/meta"),
        (dir.path().join("filer"), "rows"),
    ] {
        let shown = Command::new(BINARY)
            .args(["inspect", &key])
            .arg(&path)
            .output()
            .unwrap();
        let text = String::from_utf8(shown.stdout).unwrap();
        assert!(
            text.contains(want),
            "{}: {text}{}",
            path.display(),
            String::from_utf8_lossy(&shown.stderr)
        );
    }
}

#[test]
fn a_folder_serves_one_process_under_its_own_key() {
    let dir = tempfile::tempdir().unwrap();
    let s = Server::start(dir.path());
    let text = fails(dir.path(), &[]);
    assert!(text.contains("in use by another halofs process"), "{text}");
    let fid = s.upload(b"bytes");
    s.terminate();

    let key = dir.path().join("root.key");
    let away = dir.path().join("away");
    std::fs::copy(&key, &away).unwrap();
    std::fs::remove_file(&key).unwrap();
    let text = fails(dir.path(), &[]);
    assert!(text.contains("is missing") && !key.exists(), "{text}");
    let s = Command::new("sh")
        .args(["-c", "umask 077; printf '%064d\\n' 7 > \"$0\""])
        .arg(&key)
        .status()
        .unwrap();
    assert!(s.success());
    let text = fails(dir.path(), &[]);
    assert!(text.contains("is sealed under root key"), "{text}");
    std::fs::copy(&away, &key).unwrap();
    let s = Server::start(dir.path());
    s.expect(&fid, Some(b"bytes"));
    s.terminate();

    std::fs::remove_dir_all(dir.path().join("main")).unwrap();
    let text = fails(dir.path(), &[]);
    assert!(text.contains("holds volumes"), "{text}");
}

#[test]
fn rows_are_never_begun_anew_beside_the_needles_that_they_name() {
    let dir = tempfile::tempdir().unwrap();
    let users = dir.path().join("users.json");
    let all = r#"{"identities":[{"name":"anonymous","actions":["Admin"]}]}"#;
    std::fs::write(&users, all).unwrap();
    let flag = format!("-s3.config={}", users.display());
    let s = Server::start_with(dir.path(), &[&flag]);
    for (path, body) in [("/bucket", &b""[..]), ("/bucket/key", b"bytes")] {
        let (status, _, said) = s.call("s3", "PUT", path, body);
        assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&said));
    }
    s.terminate();
    let (rows, away) = (dir.path().join("filer"), dir.path().join("away"));
    std::fs::create_dir(&away).unwrap();
    for entry in std::fs::read_dir(&rows).unwrap() {
        let from = entry.unwrap().path();
        std::fs::copy(&from, away.join(from.file_name().unwrap())).unwrap();
    }
    std::fs::remove_dir_all(&rows).unwrap();
    let text = fails(dir.path(), &[&flag]);
    assert!(text.contains("is missing or empty"), "{text}");
    assert!(!rows.exists());
    std::fs::create_dir(&rows).unwrap();
    for entry in std::fs::read_dir(&away).unwrap() {
        let from = entry.unwrap().path();
        std::fs::copy(&from, rows.join(from.file_name().unwrap())).unwrap();
    }
    let s = Server::start_with(dir.path(), &[&flag]);
    assert_eq!(s.call("s3", "GET", "/bucket/key", b"").2, b"bytes");
    s.terminate();
}

#[test]
fn mistakes_on_the_command_line_are_explained() {
    let dir = tempfile::tempdir().unwrap();
    for (flags, want) in [
        (&["-s3.prot=1"][..], "s3.port"),
        (&["-ip=0.0.0.0"][..], "-insecure"),
        (&["-fsync=maybe"][..], "neither true nor false"),
        (&["-minFreeSpace=much"][..], "neither a percentage"),
        (&["-log.level=loud"][..], "'-log.level"),
        (&["-volumeSizeLimitMB=1"][..], "64..=32768"),
        (&["-config_dir=/does/not/exist"][..], "is not a folder"),
        (
            &["-s3.config=/does/not/exist.json"][..],
            "/does/not/exist.json",
        ),
        (&["-s3.cert=/a"][..], "s3.key"),
    ] {
        let text = fails(dir.path(), flags);
        assert!(text.contains(want), "{flags:?}: {text}");
    }
    let mut c = command(dir.path(), &[]);
    let out = c.env("HALOFS_SERVER_FSYNC", "maybe").output().unwrap();
    let text = String::from_utf8(out.stderr).unwrap();
    assert!(
        !out.status.success() && text.contains("HALOFS_SERVER_FSYNC=maybe"),
        "{text}"
    );
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        0,
        "refused before anything was made"
    );
}

#[test]
fn a_first_start_that_fails_makes_no_key_and_lost_credentials_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = format!("-volume.port={}", taken.local_addr().unwrap().port());
    let text = fails(dir.path(), &[&port]);
    assert!(text.contains("-volume.port"), "{text}");
    assert!(!dir.path().join("root.key").exists());
    let s = Server::start(dir.path());
    assert!(s.said.contains("Back up ") && !s.said.contains("was missing"));
    s.terminate();

    std::fs::remove_file(dir.path().join("credentials")).unwrap();
    let s = Server::start(dir.path());
    assert!(s.said.contains("Back up "), "nothing is stored yet");
    assert!(s.said.contains("credentials was missing"), "{}", s.said);
    s.terminate();
}

#[test]
fn every_address_is_told_as_one_that_others_reach() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("halofs.toml");
    std::fs::write(&config, "dir = 1\n[none]\n[master]\nport = 0\n").unwrap();
    let flag = format!("-config_dir={}", dir.path().display());
    let data = dir.path().join("data");
    let mut child = command(&data, &["-ip=0.0.0.0", "-insecure", &flag])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut said: Vec<String> = Vec::new();
    for line in lines {
        said.push(line.unwrap());
        if said.last().is_some_and(|l| l.starts_with("ready ")) {
            break;
        }
    }
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let out = child.wait_with_output().unwrap();
    let (said, told) = (said.join("\n"), String::from_utf8(out.stderr).unwrap());
    assert!(
        out.status.success() && said.contains("!! -insecure"),
        "{said}{told}"
    );
    let loopback = said.contains("volume=127.");
    assert_eq!(loopback, said.contains("clients are told"), "{said}");
    for want in ["toml: dir above all", "no command has a section [none]"] {
        assert!(told.contains(want), "{told}");
    }
    assert!(told.starts_with("halofs: warning: "), "{told}");
}

#[test]
fn a_reader_that_leaves_ends_inspect_quietly() {
    let dir = tempfile::tempdir().unwrap();
    let s = Server::start(dir.path());
    s.terminate();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let out = Command::new(BINARY)
        .arg("inspect")
        .arg(dir.path())
        .stdout(writer)
        .output()
        .unwrap();
    assert!(out.status.success() && out.stderr.is_empty(), "{out:?}");
}
