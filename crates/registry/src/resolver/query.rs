//! Asking servers: over UDP, and over TCP what does not fit.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rustls::crypto::aws_lc_rs;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout, timeout_at};

use super::files::Servers;
use super::message::{Kind, Reply, UDP_ROOM, question, reply};

/// Why a name has no address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// It does not exist, or has none.
    NoSuchHost { server: Option<SocketAddr> },
    /// The server did not say.
    Server { server: SocketAddr, why: String },
}

impl Failure {
    /// Go's text.
    pub(super) fn text(&self, host: &str) -> String {
        match self {
            Self::NoSuchHost { server: None } => format!("lookup {host}: no such host"),
            Self::NoSuchHost {
                server: Some(server),
            } => format!("lookup {host} on {server}: no such host"),
            Self::Server { server, why } => format!("lookup {host} on {server}: {why}"),
        }
    }
}

/// The addresses of a full name.
pub(super) async fn lookup_at(servers: &Servers, name: &str) -> Result<Vec<IpAddr>, Failure> {
    let (v4, v6) = tokio::join!(
        one_kind(servers, name, Kind::V4),
        one_kind(servers, name, Kind::V6)
    );
    match (v4, v6) {
        (Ok(v4), Ok(v6)) if v4.0.is_empty() && v6.0.is_empty() => {
            Err(Failure::NoSuchHost { server: v4.1 })
        }
        (Ok(v4), Ok(v6)) => Ok([v6.0, v4.0].concat()),
        (Ok(one), Err(_)) | (Err(_), Ok(one)) if !one.0.is_empty() => Ok(one.0),
        (Err(failure), _) | (_, Err(failure)) => Err(failure),
    }
}

type Found = (Vec<IpAddr>, Option<SocketAddr>);

async fn one_kind(servers: &Servers, name: &str, kind: Kind) -> Result<Found, Failure> {
    let mut last = Failure::NoSuchHost { server: None };
    for _ in 0..servers.attempts {
        for server in &servers.servers {
            let why = match ask(servers, *server, name, kind).await {
                Ok(Reply::Addresses(found)) => return Ok((found, Some(*server))),
                Ok(Reply::NoSuchName) => {
                    return Err(Failure::NoSuchHost {
                        server: Some(*server),
                    });
                }
                Ok(Reply::Refused | Reply::Truncated) => "server misbehaving".to_owned(),
                Err(error) => match error.kind() {
                    io::ErrorKind::InvalidInput => return Err(last),
                    io::ErrorKind::TimedOut => "i/o timeout".to_owned(),
                    io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
                    _ => error.to_string(),
                },
            };
            last = Failure::Server {
                server: *server,
                why,
            };
        }
    }
    Err(last)
}

async fn ask(servers: &Servers, server: SocketAddr, name: &str, kind: Kind) -> io::Result<Reply> {
    let id = random()?;
    let asked = question(id, name, kind)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a name"))?;
    let deadline = Instant::now() + servers.timeout;
    let answer = over_udp(server, &asked, deadline, |bytes| {
        reply(bytes, id, name, kind)
    })
    .await?;
    if answer != Reply::Truncated {
        return Ok(answer);
    }
    let bytes = timeout(servers.timeout, over_tcp(server, &asked))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    reply(&bytes, id, name, kind)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "server misbehaving"))
}

/// Each question has a socket, hence a port, of its own: together with the id that is what makes
/// answers hard to guess for others.
async fn over_udp(
    server: SocketAddr,
    asked: &[u8],
    deadline: Instant,
    read: impl Fn(&[u8]) -> Option<Reply>,
) -> io::Result<Reply> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(asked).await?;
    let mut bytes = vec![0; usize::from(UDP_ROOM)];
    loop {
        let length = timeout_at(deadline, socket.recv(&mut bytes))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        // What is not the answer to this question is somebody's guess.
        if let Some(answer) = read(&bytes[..length]) {
            return Ok(answer);
        }
    }
}

async fn over_tcp(server: SocketAddr, asked: &[u8]) -> io::Result<Vec<u8>> {
    let mut socket = TcpStream::connect(server).await?;
    let length = u16::try_from(asked.len()).map_err(io::Error::other)?;
    socket.write_all(&length.to_be_bytes()).await?;
    socket.write_all(asked).await?;
    let length = socket.read_u16().await?;
    let mut bytes = vec![0; usize::from(length)];
    socket.read_exact(&mut bytes).await?;
    Ok(bytes)
}

fn random() -> io::Result<u16> {
    let mut bytes = [0; 2];
    aws_lc_rs::default_provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| io::Error::other("no random numbers"))?;
    Ok(u16::from_be_bytes(bytes))
}
