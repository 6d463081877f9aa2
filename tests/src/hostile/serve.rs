//! One connection: what a good registry answers, changed by the first rule that fits.

use std::io::{self, BufReader};
use std::net::TcpStream;
use std::sync::Arc;

use serde_json::json;
use spec::Digest;

use super::{Reply, Request, Shared, State, Tokens};
use crate::content::Blob;

/// Serves until either side ends it.
pub(super) fn connection(stream: &TcpStream, shared: &Arc<Shared>) {
    let (Ok(reader), Ok(mut writer)) = (stream.try_clone(), stream.try_clone()) else {
        return;
    };
    let mut reader = BufReader::new(reader);
    // Errors are those of a client that hung up, or of our own hanging up.
    while let Ok(Some(request)) = Request::read(&mut reader) {
        let last = request.header("connection") == Some("close");
        match answer(&request, &mut writer, shared) {
            Ok(true) if !last => {}
            Ok(_) | Err(_) => break,
        }
    }
    // Nobody may wait for more on it.
    let _ = stream.shutdown(std::net::Shutdown::Both);
}

fn answer(request: &Request, writer: &mut TcpStream, shared: &Shared) -> io::Result<bool> {
    let reply = {
        let mut state = shared.state();
        state.requests.push(request.clone());
        let line = request.line();
        let rule = state.rules.iter_mut().find(|rule| rule.left > 0 && line.contains(&rule.on));
        let changed = rule.map(|rule| {
            rule.left -= 1;
            rule.reply.clone()
        });
        match changed {
            // A whole answer needs nothing of the usual one.
            Some(reply) if reply.status.is_some() && reply.body.is_some() => reply,
            Some(reply) => reply.over(usual(&mut state, request)),
            None => usual(&mut state, request),
        }
    };
    reply.send(request, writer, shared)
}

fn usual(state: &mut State, request: &Request) -> Reply {
    let path = request.path.split('?').next().unwrap_or_default();
    if path == "/token" {
        return token(state, request);
    }
    if let Some(refusal) = refusal(state, request) {
        return refusal;
    }
    let Some(rest) = path.strip_prefix("/v2/") else {
        return Reply::error(404, "NOT_FOUND", "no such place");
    };
    if rest.is_empty() {
        return Reply::of(200, "{}").header("Docker-Distribution-Api-Version", "registry/2.0");
    }
    if let Some((name, tag)) = rest.split_once("/manifests/") {
        return manifests(state, request, name, tag);
    }
    if let Some((name, upload)) = rest.split_once("/blobs/uploads/") {
        return uploads(state, request, name, upload);
    }
    if let Some((_, digest)) = rest.split_once("/blobs/") {
        return match state.blobs.get(digest) {
            Some(blob) => {
                let mut reply = found(blob, "application/octet-stream", digest);
                reply.is_blob = true;
                reply.header("Accept-Ranges", "bytes")
            }
            None => Reply::error(404, "BLOB_UNKNOWN", "blob unknown to registry"),
        };
    }
    if let Some(name) = rest.strip_suffix("/tags/list") {
        let start = format!("{name}@");
        let tags: Vec<&str> =
            state.manifests.keys().filter_map(|key| key.strip_prefix(&start)).collect();
        let tags: Vec<&str> = tags.into_iter().filter(|tag| !tag.contains(':')).collect();
        return Reply::of(200, json!({"name": name, "tags": tags}).to_string());
    }
    Reply::error(404, "NOT_FOUND", "no such place")
}

fn found(blob: &Blob, media_type: &str, digest: &str) -> Reply {
    Reply::of(200, blob.bytes.clone())
        .header("Content-Type", media_type)
        .header("Docker-Content-Digest", digest)
}

fn manifests(state: &mut State, request: &Request, name: &str, tag: &str) -> Reply {
    let key = format!("{name}@{tag}");
    if request.method == "PUT" {
        let media_type = request.header("content-type").unwrap_or_default();
        let manifest = Arc::new(Blob::new(media_type, request.body.clone()));
        let digest = manifest.digest();
        state.manifests.insert(format!("{name}@{digest}"), Arc::clone(&manifest));
        state.manifests.insert(key, manifest);
        return Reply::of(201, "")
            .header("Location", &format!("/v2/{name}/manifests/{digest}"))
            .header("Docker-Content-Digest", &digest);
    }
    match state.manifests.get(&key) {
        Some(manifest) => {
            let digest = if tag.contains(':') {
                tag.to_owned()
            } else {
                manifest.digest()
            };
            found(manifest, &manifest.media_type.clone(), &digest)
        }
        None => Reply::error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
    }
}

fn uploads(state: &mut State, request: &Request, name: &str, upload: &str) -> Reply {
    if request.method == "POST" {
        if let Some(digest) = request.query("mount").map(|text| text.replace("%3A", ":"))
            && state.blobs.contains_key(&digest)
        {
            return Reply::of(201, "").header("Location", &format!("/v2/{name}/blobs/{digest}"));
        }
        let id = format!("u{}", state.uploads.len());
        state.uploads.insert(id.clone(), Vec::new());
        return Reply::of(202, "")
            .header("Location", &format!("/v2/{name}/blobs/uploads/{id}"))
            .header("Range", "0-0")
            .header("Docker-Upload-UUID", &id);
    }
    let Some(bytes) = state.uploads.get_mut(upload) else {
        return Reply::error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry");
    };
    bytes.extend_from_slice(&request.body);
    if request.method == "PATCH" {
        let range = format!("0-{}", bytes.len().saturating_sub(1));
        return Reply::of(202, "")
            .header("Location", &format!("/v2/{name}/blobs/uploads/{upload}"))
            .header("Range", &range);
    }
    let digest = request.query("digest").unwrap_or_default().replace("%3A", ":");
    let bytes = std::mem::take(bytes);
    if crate::content::digest(&bytes) != digest {
        return Reply::error(
            400, "DIGEST_INVALID", "provided digest did not match uploaded content",
        );
    }
    state.blobs.insert(digest.clone(), Arc::new(Blob::new("application/octet-stream", bytes)));
    Reply::of(201, "")
        .header("Location", &format!("/v2/{name}/blobs/{digest}"))
        .header("Docker-Content-Digest", &digest)
}

/// The refusal of a request without a token, when tokens are asked for.
fn refusal(state: &State, request: &Request) -> Option<Reply> {
    let tokens = state.tokens.as_ref()?;
    let given = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    if given.is_some_and(|token| state.issued.contains(token)) {
        return None;
    }
    let name = request.path.strip_prefix("/v2/").unwrap_or_default();
    let name = ["/manifests/", "/blobs/", "/tags/"].iter().find_map(|end| name.split_once(end));
    let action = if matches!(request.method.as_str(), "GET" | "HEAD") {
        "pull"
    } else {
        "pull,push"
    };
    let scope =
        name.map_or(String::new(), |(name, _)| format!(",scope=\"repository:{name}:{action}\""));
    let challenge = format!("Bearer realm=\"{}\",service=\"e2e\"{scope}", tokens.realm);
    let reply = Reply::error(401, "UNAUTHORIZED", "authentication required");
    Some(reply.header("WWW-Authenticate", &challenge))
}

/// A token for whoever proves to be the user.
fn token(state: &mut State, request: &Request) -> Reply {
    let Some(tokens) = state.tokens.clone() else {
        return Reply::error(404, "NOT_FOUND", "no such place");
    };
    let form = request.text();
    let has = |text: &str| form.split('&').any(|pair| pair == text);
    let known = if request.method == "POST" {
        has(&format!("refresh_token={}", tokens.identity))
            || (has(&format!("username={}", tokens.user))
                && has(&format!("password={}", tokens.password)))
    } else {
        request.header("authorization") == Some(basic(&tokens).as_str())
    };
    let pull_only = !request.path.contains("push") && !form.contains("push");
    let anonymous = request.header("authorization").is_none() && request.method == "GET";
    if !(known || tokens.anonymous_pull && anonymous && pull_only) {
        return Reply::error(401, "UNAUTHORIZED", "incorrect username or password");
    }
    let token = format!("token-{}", Digest::of(state.issued.len().to_string().as_bytes()).hex());
    state.issued.insert(token.clone());
    let mut body = json!({"token": token, "access_token": token, "expires_in": 300});
    let offline = has("access_type=offline") || request.path.contains("offline_token=true");
    if known && offline {
        body["refresh_token"] = tokens.identity.into();
    }
    Reply::of(200, body.to_string()).header("Content-Type", "application/json")
}

/// The header field of the account.
fn basic(tokens: &Tokens) -> String {
    format!("Basic {}", base64(format!("{}:{}", tokens.user, tokens.password).as_bytes()))
}

/// The usual alphabet, with padding.
pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |word, &byte| word << 8 | u32::from(byte));
        let word = word << (8 * (3 - chunk.len()));
        for place in 0..4 {
            if place > chunk.len() {
                text.push('=');
            } else {
                let index = (word >> (18 - 6 * place)) & 63;
                text.push(ALPHABET[index as usize].into());
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_every_length() {
        assert_eq!(base64(b""), "");
        assert_eq!(base64(b"f"), "Zg==");
        assert_eq!(base64(b"fo"), "Zm8=");
        assert_eq!(base64(b"foo"), "Zm9v");
    }
}
