//! `-s3.config`: a JSON file of identities and accounts, read strictly. Every complaint names the place in the file.
//!
//! `{"identities":[{"name","credentials":[{"accessKey","secretKey"}],"actions":[…],"account":{"id","displayName",
//! "emailAddress"}}],"accounts":[{"id","displayName","emailAddress"}]}`. An action is `Admin`, `Read`, `Write`, `List`
//! or `Tagging`, alone or with `:bucket`, `:bucket/prefix*` or `:bucket/key`.

use std::collections::HashMap;
use std::sync::Arc;

use halofs_types::object::Owner;
use serde_json::{Map, Value};

use super::identity::{
    ANONYMOUS, ANONYMOUS_ACCOUNT_ID, Action, Credential, DEFAULT_ACCOUNT_ID, Grant, Identities,
    Identity, Scope,
};

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {reason}")]
pub struct ConfigError {
    /// `identities[0].actions[2]`.
    pub at: String,
    /// In words.
    pub reason: String,
}

type Result<T> = std::result::Result<T, ConfigError>;

/// Reads the file's text.
pub fn parse(text: &[u8]) -> Result<Identities> {
    let value: Value =
        serde_json::from_slice(text).map_err(|e| wrong("the file", &format!("not JSON: {e}")))?;
    let root = object(&value, "the file", &["identities", "accounts"])?;
    let accounts = accounts(root)?;
    let mut all = Identities::default();
    let mut names: Vec<&str> = Vec::new();
    for (i, item) in list(root, "identities", "")?.iter().enumerate() {
        let at = format!("identities[{i}]");
        let fields = object(item, &at, &["name", "credentials", "actions", "account"])?;
        let name = text_of(fields, "name", &at)?;
        if names.contains(&name) {
            return Err(wrong(
                &format!("{at}.name"),
                &format!("\"{name}\" is there twice"),
            ));
        }
        names.push(name);
        identity(&mut all, fields, name, &accounts, &at)?;
    }
    if all.is_empty() && all.anonymous().is_none() {
        return Err(wrong(
            "identities",
            "nobody could sign in: there is no identity with credentials",
        ));
    }
    Ok(all)
}

fn identity(
    all: &mut Identities,
    fields: &Map<String, Value>,
    name: &str,
    accounts: &HashMap<String, Owner>,
    at: &str,
) -> Result<()> {
    let owner = match fields.get("account") {
        None => default_owner(name),
        Some(v) => account(v, accounts, &format!("{at}.account"))?,
    };
    let mut grants = Vec::new();
    for (i, v) in list(fields, "actions", &format!("{at}."))?
        .iter()
        .enumerate()
    {
        let at = format!("{at}.actions[{i}]");
        grants.push(grant(
            v.as_str().ok_or_else(|| wrong(&at, "expected a string"))?,
            &at,
        )?);
    }
    let identity = Arc::new(Identity {
        name: name.to_owned(),
        owner,
        grants,
    });
    let credentials = list(fields, "credentials", &format!("{at}."))?;
    if name == ANONYMOUS {
        if !credentials.is_empty() {
            return Err(wrong(
                &format!("{at}.credentials"),
                "unsigned requests have no credentials",
            ));
        }
        all.set_anonymous(identity);
        return Ok(());
    }
    for (i, v) in credentials.iter().enumerate() {
        let at = format!("{at}.credentials[{i}]");
        let fields = object(v, &at, &["accessKey", "secretKey"])?;
        let access_key = text_of(fields, "accessKey", &at)?.to_owned();
        let secret_key = text_of(fields, "secretKey", &at)?.to_owned();
        check_access_key(&access_key)
            .map_err(|reason| wrong(&format!("{at}.accessKey"), reason))?;
        let credential = Credential {
            access_key,
            secret_key,
        };
        if !all.insert(credential, Arc::clone(&identity)) {
            return Err(wrong(
                &format!("{at}.accessKey"),
                "this access key is there twice",
            ));
        }
    }
    Ok(())
}

/// What an access key may be: it stands between slashes in a credential scope.
pub fn check_access_key(key: &str) -> std::result::Result<(), &'static str> {
    let fits = (1..=128).contains(&key.len())
        && key
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"/,=".contains(&b));
    if fits {
        Ok(())
    } else {
        Err("expected 1 to 128 printable ASCII characters without '/', ',' and '='")
    }
}

fn default_owner(name: &str) -> Owner {
    let id = if name == ANONYMOUS {
        ANONYMOUS_ACCOUNT_ID
    } else {
        DEFAULT_ACCOUNT_ID
    };
    let display_name = if name == ANONYMOUS { name } else { "halofs" };
    Owner {
        id: id.to_owned(),
        display_name: display_name.to_owned(),
    }
}

fn accounts(root: &Map<String, Value>) -> Result<HashMap<String, Owner>> {
    let mut out = HashMap::new();
    for (i, v) in list(root, "accounts", "")?.iter().enumerate() {
        let at = format!("accounts[{i}]");
        let owner = account(v, &HashMap::new(), &at)?;
        let id = owner.id.clone();
        if out.insert(id.clone(), owner).is_some() {
            return Err(wrong(
                &format!("{at}.id"),
                &format!("\"{id}\" is there twice"),
            ));
        }
    }
    Ok(out)
}

/// An account; one that gives only its id takes its name from the list.
fn account(v: &Value, known: &HashMap<String, Owner>, at: &str) -> Result<Owner> {
    let fields = object(v, at, &["id", "displayName", "emailAddress"])?;
    let id = text_of(fields, "id", at)?;
    let own = optional_text(fields, "displayName", at)?;
    let _checked = optional_text(fields, "emailAddress", at)?;
    let listed = known.get(id).map(|o| o.display_name.as_str());
    Ok(Owner {
        id: id.to_owned(),
        display_name: own.or(listed).unwrap_or_default().to_owned(),
    })
}

fn grant(text: &str, at: &str) -> Result<Grant> {
    let (name, scope) = match text.split_once(':') {
        None => (text, None),
        Some((name, scope)) => (name, Some(scope)),
    };
    let Some(action) = Action::ALL.into_iter().find(|a| a.name() == name) else {
        let reason = format!("\"{name}\" is none of Admin, Read, Write, List, Tagging");
        return Err(wrong(at, &reason));
    };
    let scope = match scope {
        None => Scope::All,
        Some(s) => parse_scope(s).map_err(|reason| wrong(at, reason))?,
    };
    Ok(Grant { action, scope })
}

fn parse_scope(text: &str) -> std::result::Result<Scope, &'static str> {
    let (bucket, key) = match text.split_once('/') {
        None => (text, None),
        Some((bucket, key)) => (bucket, Some(key)),
    };
    if bucket.is_empty() {
        return Err("after the colon stands a bucket: Action:bucket or Action:bucket/prefix*");
    }
    if bucket.contains('*') {
        return Err(
            "'*' is allowed at the end of a key prefix only (bucket/prefix*), not in a bucket's name",
        );
    }
    let bucket = bucket.to_owned();
    match key {
        None | Some("" | "*") => Ok(Scope::Bucket(bucket)),
        Some(key) => match key.split_once('*') {
            None => Ok(Scope::Key(bucket, key.to_owned())),
            Some((prefix, "")) => Ok(Scope::Prefix(bucket, prefix.to_owned())),
            Some(_) => Err("'*' is allowed at the end only: bucket/prefix*"),
        },
    }
}

fn wrong(at: &str, reason: &str) -> ConfigError {
    ConfigError {
        at: at.to_owned(),
        reason: reason.to_owned(),
    }
}

fn object<'a>(v: &'a Value, at: &str, known: &[&str]) -> Result<&'a Map<String, Value>> {
    let map = v
        .as_object()
        .ok_or_else(|| wrong(at, "expected an object"))?;
    match map.keys().find(|k| !known.contains(&k.as_str())) {
        None => Ok(map),
        Some(k) => Err(wrong(
            at,
            &format!("unknown field \"{k}\"; known are {}", known.join(", ")),
        )),
    }
}

fn list<'a>(map: &'a Map<String, Value>, field: &str, at: &str) -> Result<&'a [Value]> {
    match map.get(field) {
        None => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(wrong(&format!("{at}{field}"), "expected a list")),
    }
}

fn text_of<'a>(map: &'a Map<String, Value>, field: &str, at: &str) -> Result<&'a str> {
    match optional_text(map, field, at)? {
        Some(s) if !s.is_empty() => Ok(s),
        Some(_) => Err(wrong(&format!("{at}.{field}"), "must not be empty")),
        None => Err(wrong(&format!("{at}.{field}"), "is missing")),
    }
}

fn optional_text<'a>(
    map: &'a Map<String, Value>,
    field: &str,
    at: &str,
) -> Result<Option<&'a str>> {
    match map.get(field) {
        None => Ok(None),
        Some(Value::String(s)) => Ok(Some(s)),
        Some(_) => Err(wrong(&format!("{at}.{field}"), "expected a string")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::identity::Resource;
    use super::*;

    #[test]
    fn a_full_file_is_understood() {
        let all = parse(
            br#"{"identities":[
                {"name":"alice","credentials":[{"accessKey":"A1","secretKey":"s1"},{"accessKey":"A2","secretKey":"s2"}],
                 "actions":["Admin"],"account":{"id":"acc1"}},
                {"name":"bob","credentials":[{"accessKey":"B","secretKey":"s"}],
                 "actions":["Read:photos","Write:photos/bob/*","List:photos/bob/*","Read:docs/one.txt"]},
                {"name":"anonymous","actions":["Read:public/*"]}],
                "accounts":[{"id":"acc1","displayName":"Account One","emailAddress":"one@example.com"}]}"#,
        )
        .unwrap();
        let (credential, alice) = all.find("A2").unwrap();
        assert_eq!(
            (credential.secret_key.as_str(), alice.name.as_str()),
            ("s2", "alice")
        );
        assert_eq!(
            alice.owner,
            Owner {
                id: "acc1".into(),
                display_name: "Account One".into()
            }
        );
        let (_, bob) = all.find("B").unwrap();
        assert_eq!(bob.owner.id, DEFAULT_ACCOUNT_ID);
        assert!(bob.may(Action::Write, Resource::Key("photos", "bob/x")));
        assert!(!bob.may(Action::Write, Resource::Key("photos", "bobby/x")));
        assert!(bob.may(Action::Read, Resource::Key("docs", "one.txt")));
        assert!(
            all.anonymous()
                .unwrap()
                .may(Action::Read, Resource::Key("public", "x"))
        );
        assert!(
            !all.anonymous()
                .unwrap()
                .may(Action::Read, Resource::Key("publicity", "x"))
        );
    }

    #[test]
    fn every_complaint_names_its_place() {
        let ident = |rest: &str| format!(r#"{{"identities":[{{"name":"a"{rest}}}]}}"#);
        let key = r#","credentials":[{"accessKey":"A","secretKey":"s"}]"#;
        let table = [
            ("[]".to_owned(), "the file: expected an object"),
            ("{".to_owned(), "the file: not JSON"),
            (r#"{"identitys":[]}"#.to_owned(), "the file: unknown field \"identitys\""),
            (r#"{"identities":{}}"#.to_owned(), "identities: expected a list"),
            ("{}".to_owned(), "identities: nobody could sign in"),
            (r#"{"identities":[{}]}"#.to_owned(), "identities[0].name: is missing"),
            (r#"{"identities":[{"name":""}]}"#.to_owned(), "identities[0].name: must not be empty"),
            (ident(r#","actions":["Raed"]"#), "identities[0].actions[0]: \"Raed\" is none of"),
            (ident(r#","actions":["Read:"]"#), "identities[0].actions[0]: after the colon"),
            (ident(r#","actions":["Read:b*"]"#), "identities[0].actions[0]: '*' is allowed"),
            (ident(r#","actions":["Read:b/a*b"]"#), "identities[0].actions[0]: '*' is allowed at the end only"),
            (ident(r#","actions":[1]"#), "identities[0].actions[0]: expected a string"),
            (ident(r#","actions":"Read""#), "identities[0].actions: expected a list"),
            (ident(r#","credentials":[{"accessKey":"A"}]"#), "identities[0].credentials[0].secretKey: is missing"),
            (
                ident(r#","credentials":[{"accessKey":"A/B","secretKey":"s"}]"#),
                "identities[0].credentials[0].accessKey: expected 1 to 128",
            ),
            (
                ident(r#","credentials":[{"accessKey":"A","secretKey":"s"},{"accessKey":"A","secretKey":"t"}]"#),
                "identities[0].credentials[1].accessKey: this access key is there twice",
            ),
            (ident(&format!(r#"{key},"account":{{"id":7}}"#)), "identities[0].account.id: expected a string"),
            (ident(&format!(r#"{key},"acount":{{}}"#)), "identities[0]: unknown field \"acount\""),
            (
                r#"{"identities":[{"name":"anonymous","credentials":[{"accessKey":"A","secretKey":"s"}]}]}"#.to_owned(),
                "identities[0].credentials: unsigned",
            ),
            (
                r#"{"accounts":[{"id":"x"},{"id":"x"}],"identities":[]}"#.to_owned(),
                "accounts[1].id: \"x\" is there twice",
            ),
        ];
        for (text, want) in table {
            let got = parse(text.as_bytes()).unwrap_err().to_string();
            assert!(got.starts_with(want), "{text}\n got: {got}\nwant: {want}");
        }
    }
}
