//! Credentials for registries, where Docker's client keeps them.
//!
//! A server's credentials are in `config.json` itself (`auths`, base64), or with a helper program
//! that the file names: for this server (`credHelpers`) or for all (`credsStore`). Where the file
//! says nothing at all, the system's usual helper is taken if it is installed.

mod helper;

use std::fmt;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::app::say;
use crate::base64;
use crate::config::{Config, pair};
use crate::output::text;

/// The name under which credentials for Docker Hub are kept.
pub const HUB: &str = "https://index.docker.io/v1/";

/// The user name that says that the secret is an identity token.
const TOKEN_USER: &str = "<token>";

/// What proves to a registry who one is.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Auth {
    /// The user.
    pub username: String,
    /// Their password or access token.
    pub password: String,
    /// Kept for helpers of old; registries do not ask for it.
    pub email: String,
    /// The registry.
    pub server: String,
    /// A refresh token instead of a password.
    pub identity_token: String,
    /// A token that the registry takes as it is.
    pub registry_token: String,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("username", &self.username)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

impl Auth {
    /// The body of a login.
    pub fn json(&self) -> Value {
        let fields = [
            ("username", &self.username),
            ("password", &self.password),
            ("email", &self.email),
            ("serveraddress", &self.server),
            ("identitytoken", &self.identity_token),
            ("registrytoken", &self.registry_token),
        ];
        let given = fields.into_iter().filter(|(_, value)| !value.is_empty());
        given
            .map(|(name, value)| (name.to_owned(), Value::from(value.as_str())))
            .collect::<Map<_, _>>()
            .into()
    }

    /// The value of the header `X-Registry-Auth`.
    pub fn header(&self) -> String {
        base64::encode_url(&api::gojson::encode(&self.json()))
    }

    /// What a registry is shown by this program itself.
    pub fn credentials(&self) -> registry::Credentials {
        registry::Credentials {
            username: self.username.clone(),
            password: self.password.clone().into(),
            identity_token: self.identity_token.clone().into(),
            registry_token: self.registry_token.clone().into(),
            server_address: self.server.clone(),
        }
    }

    fn of_entry(server: &str, entry: &Value) -> Self {
        let (username, password) = match text(entry, "auth") {
            "" => (
                text(entry, "username").to_owned(),
                text(entry, "password").to_owned(),
            ),
            coded => pair(coded),
        };
        Self {
            username,
            password,
            email: text(entry, "email").to_owned(),
            server: server.to_owned(),
            identity_token: text(entry, "identitytoken").to_owned(),
            registry_token: text(entry, "registrytoken").to_owned(),
        }
    }

    fn entry(&self) -> Value {
        let mut entry = Map::new();
        if !self.username.is_empty() || !self.password.is_empty() {
            let coded = base64::encode(format!("{}:{}", self.username, self.password).as_bytes());
            entry.insert("auth".to_owned(), coded.into());
        }
        for (name, value) in [
            ("email", &self.email),
            ("identitytoken", &self.identity_token),
            ("registrytoken", &self.registry_token),
        ] {
            if !value.is_empty() {
                entry.insert(name.to_owned(), value.as_str().into());
            }
        }
        entry.into()
    }
}

/// The name under which credentials for a registry's domain are kept.
pub fn key(domain: &str) -> &str {
    match domain {
        "docker.io" | "index.docker.io" => HUB,
        other => other,
    }
}

/// Host and port of what may be a whole URL.
pub fn hostname(text: &str) -> &str {
    let rest = match text.split_once("://") {
        Some((_, rest)) => {
            let rest = rest.split(['/', '?', '#']).next().unwrap_or(rest);
            rest.rsplit_once('@').map_or(rest, |(_, host)| host)
        }
        None => text,
    };
    rest.split('/').next().unwrap_or(rest)
}

/// Where the credentials of one server are kept.
#[derive(Debug)]
pub struct Store<'c> {
    config: &'c Config,
    server: &'c str,
    helper: Option<String>,
    detected: bool,
}

/// The store of a server's credentials.
pub fn store<'c>(config: &'c Config, server: &'c str) -> Store<'c> {
    let named = config
        .entry("credHelpers", server)
        .unwrap_or_else(|| config.text("credsStore"));
    let mut helper = (!named.is_empty()).then(|| named.to_owned());
    let mut detected = false;
    if helper.is_none() && !config.has_credentials() {
        helper = usual_helper();
        detected = helper.is_some();
    }
    Store {
        config,
        server,
        helper,
        detected,
    }
}

// What the system keeps secrets with, if a helper for it is installed.
fn usual_helper() -> Option<String> {
    let usual = if installed("pass") {
        "pass"
    } else {
        "secretservice"
    };
    installed(&format!("{}{usual}", helper::PREFIX)).then(|| usual.to_owned())
}

fn installed(program: &str) -> bool {
    use std::os::unix::fs::PermissionsExt;
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| {
        let is_program =
            |meta: std::fs::Metadata| meta.is_file() && meta.permissions().mode() & 0o111 != 0;
        Path::is_absolute(&directory) && directory.join(program).metadata().is_ok_and(is_program)
    })
}

/// What a store has, and why it may be less than all.
#[derive(Debug, Default)]
pub struct Found {
    /// The credentials; empty ones where there are none.
    pub auth: Auth,
    /// The helper's error.
    pub error: Option<String>,
}

impl Store<'_> {
    /// Reads the credentials.
    pub fn get(&self) -> Found {
        let mut auth = self.kept();
        let Some(helper) = &self.helper else {
            return Found { auth, error: None };
        };
        let secret = match helper::get(helper, self.server) {
            Err(error) => {
                return Found {
                    auth,
                    error: Some(error),
                };
            }
            Ok(secret) => secret,
        };
        auth.server = secret.as_ref().map_or("", |_| self.server).to_owned();
        let secret = secret.unwrap_or_default();
        let is_token = secret.username == TOKEN_USER;
        (auth.username, auth.password, auth.identity_token) = match is_token {
            true => (String::new(), String::new(), secret.secret),
            false => (secret.username, secret.secret, String::new()),
        };
        Found { auth, error: None }
    }

    // What the file itself has, also under older spellings of the server's name.
    fn kept(&self) -> Auth {
        let exact = self.config.auths().find(|(name, _)| *name == self.server);
        let older = || {
            self.config
                .auths()
                .find(|(name, _)| hostname(name) == self.server)
        };
        exact
            .or_else(older)
            .map(|(name, entry)| Auth::of_entry(name, entry))
            .unwrap_or_default()
    }

    /// Keeps credentials; `auth.server` is the name they are kept under.
    ///
    /// # Errors
    ///
    /// The helper's, or that of writing the file.
    pub fn put(&self, auth: &Auth) -> Result<(), String> {
        let Some(helper) = &self.helper else {
            return self.put_in_file(auth);
        };
        let (username, secret) = match auth.identity_token.as_str() {
            "" => (auth.username.as_str(), auth.password.as_str()),
            token => (TOKEN_USER, token),
        };
        helper::store(helper, &auth.server, username, secret)?;
        // The file says that there is something, and not what.
        self.put_in_file(&Auth {
            username: String::new(),
            password: String::new(),
            identity_token: String::new(),
            ..auth.clone()
        })
    }

    fn put_in_file(&self, auth: &Auth) -> Result<(), String> {
        let before = self.config.auths().find(|(name, _)| **name == auth.server);
        if before.is_some_and(|(name, entry)| Auth::of_entry(name, entry) == *auth) {
            return Ok(());
        }
        self.config.update(|values| {
            if let (true, Some(helper)) = (self.detected, &self.helper) {
                values.insert("credsStore".to_owned(), helper.as_str().into());
            }
            let auths = values.entry("auths").or_insert_with(|| json!({}));
            auths[&auth.server] = auth.entry();
        })?;
        if !auth.password.is_empty() {
            say(&format!(
                "\nWARNING! Your credentials are stored unencrypted in '{}'.\nConfigure a credential helper to remove this warning. See\nhttps://docs.docker.com/go/credential-store/\n",
                self.config.file().display()
            ));
        }
        Ok(())
    }

    /// Forgets the credentials; there may be none.
    ///
    /// # Errors
    ///
    /// The helper's, or that of writing the file.
    pub fn erase(&self) -> Result<(), String> {
        if let Some(helper) = &self.helper {
            helper::erase(helper, self.server)?;
        }
        if !self.config.auths().any(|(name, _)| name == self.server) {
            return Ok(());
        }
        self.config.update(|values| {
            if let Some(Value::Object(auths)) = values.get_mut("auths") {
                auths.shift_remove(self.server);
            }
        })
    }
}

#[cfg(test)]
mod tests;
