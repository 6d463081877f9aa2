//! A forward proxy in this process: it leads every name to one address and keeps what was asked.

use std::io::{self, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::hostile::Request;

/// A running proxy. Dropping it ends it.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    tunnels: bool,
    stop: AtomicBool,
    asked: Mutex<Vec<Request>>,
}

impl Proxy {
    /// One that leads everything to `target`; tunnels (`CONNECT`) only if it is told to.
    pub fn to(target: SocketAddr, tunnels: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is left");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared {
            target,
            tunnels,
            stop: AtomicBool::new(false),
            asked: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if accepting.stop.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&accepting);
                // Ends with either side of its connection.
                std::thread::spawn(move || {
                    // A side that hung up is the usual end.
                    let _ = serve(&stream, &shared);
                    let _ = stream.shutdown(Shutdown::Both);
                });
            }
        });
        Self {
            address,
            shared,
            listener: Some(thread),
        }
    }

    /// `http://127.0.0.1:…`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was asked of it.
    pub fn asked(&self) -> Vec<Request> {
        self.shared.asked.lock().expect("no panic while held").clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // Wakes the listener; when that fails it has ended.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.listener.take() {
            let _ = thread.join();
        }
    }
}

fn serve(client: &TcpStream, shared: &Shared) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let Some(request) = Request::read(&mut reader)? else {
        return Ok(());
    };
    shared.asked.lock().expect("no panic while held").push(request.clone());
    let mut writer = client.try_clone()?;
    if request.method == "CONNECT" {
        if !shared.tunnels {
            return writer.write_all(b"HTTP/1.1 502 No Tunnel\r\nContent-Length: 0\r\n\r\n");
        }
        let server = TcpStream::connect(shared.target)?;
        writer.write_all(b"HTTP/1.1 200 Connected\r\n\r\n")?;
        let (mut from, mut to) = (reader, server.try_clone()?);
        let up = std::thread::spawn(move || {
            // Either direction ends the other.
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        });
        let copied = io::copy(&mut server.try_clone()?, &mut writer);
        client.shutdown(Shutdown::Both)?;
        let _ = up.join();
        return copied.map(drop);
    }
    let path = request.path.splitn(4, '/').nth(3).unwrap_or_default();
    let mut head = format!("{} /{path} HTTP/1.1\r\n", request.method);
    for (name, value) in &request.headers {
        if !matches!(name.as_str(), "connection" | "proxy-connection" | "transfer-encoding") {
            head += &format!("{name}: {value}\r\n");
        }
    }
    let mut server = TcpStream::connect(shared.target)?;
    server.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes())?;
    server.write_all(&request.body)?;
    io::copy(&mut server, &mut writer).map(drop)
}
