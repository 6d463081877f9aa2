//! The pumps with a "process" that is the test itself.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::*;

/// A process's side of its pipes, and the supervisor's.
struct World {
    poll: Poll,
    stdio: Stdio,
    scratch: Vec<u8>,
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
}

impl World {
    fn new(once: bool) -> Self {
        let mut world = Self::without_process();
        world.connect(once);
        world
    }

    fn without_process() -> Self {
        let poll = Poll::new().unwrap();
        let (scratch, stdio) = (Vec::new(), Stdio::new(3));
        Self {
            poll,
            stdio,
            scratch,
            stdin: None,
            stdout: None,
        }
    }

    fn connect(&mut self, once: bool) {
        let (stdin, ours_in) = rustix::pipe::pipe().unwrap();
        let (ours_out, stdout) = rustix::pipe::pipe().unwrap();
        let ends = Ends::Pipes {
            stdin: Some(ours_in),
            stdout: Some(ours_out),
            stderr: None,
        };
        let mut cx = Context {
            poll: &self.poll,
            scratch: &mut self.scratch,
            log: None,
        };
        self.stdio.connect(&mut cx, ends, once).unwrap();
        sys::fdpass::set_nonblocking(stdin.as_fd()).unwrap();
        sys::fdpass::set_nonblocking(stdout.as_fd()).unwrap();
        (self.stdin, self.stdout) = (Some(stdin), Some(stdout));
    }

    fn attach(&mut self) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let wants = Streams {
            stdin: true,
            stdout: true,
            stderr: true,
        };
        assert!(self.stdio.attach(&self.poll, theirs.into(), wants));
        ours.set_nonblocking(true).unwrap();
        ours
    }

    /// Handles events until there are none.
    fn turn(&mut self) {
        loop {
            let ready: Vec<Ready> = self.poll.wait(Some(Duration::ZERO)).unwrap().collect();
            if ready.is_empty() {
                return;
            }
            for event in ready {
                let token = Token::unpack(event.token).unwrap();
                assert_eq!(token.owner, 3);
                let mut cx = Context {
                    poll: &self.poll,
                    scratch: &mut self.scratch,
                    log: None,
                };
                self.stdio.on_ready(token, event, &mut cx);
            }
        }
    }

    /// Handles events until the client has got something; a terminal takes its time.
    fn expect(&mut self, client: &UnixStream, want: &[u8]) {
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        let mut got = Vec::new();
        while !got.starts_with(want) {
            assert!(
                std::time::Instant::now() < deadline,
                "{:?}",
                String::from_utf8_lossy(&got)
            );
            let _ = self
                .poll
                .wait(Some(Duration::from_millis(5)))
                .unwrap()
                .count();
            self.turn();
            got.extend_from_slice(&take(client));
        }
    }

    fn print(&self, text: &[u8]) -> usize {
        rustix::io::write(self.stdout.as_ref().unwrap(), text).unwrap_or(0)
    }

    /// What the process can read now; `None` at the end.
    fn read_stdin(&self) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 1 << 20];
        match rustix::io::read(self.stdin.as_ref().unwrap(), &mut buffer) {
            Ok(0) => None,
            Ok(n) => Some(buffer[..n].to_vec()),
            Err(_) => Some(Vec::new()),
        }
    }
}

fn take(mut stream: &UnixStream) -> Vec<u8> {
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    all
}

#[test]
fn every_client_gets_framed_output() {
    let mut world = World::new(true);
    let (one, two) = (world.attach(), world.attach());
    world.print(b"hello");
    world.turn();
    for client in [&one, &two] {
        assert_eq!(take(client), b"\x01\0\0\0\0\0\0\x05hello");
    }
}

#[test]
fn a_slow_client_stops_the_reading_until_it_reads_or_leaves() {
    for leaves in [false, true] {
        let mut world = World::new(true);
        let client = world.attach();
        let chunk = [b'x'; 4096];
        let mut printed = 0;
        // Until neither the pipe nor the socket takes any more.
        loop {
            let done = world.print(&chunk);
            world.turn();
            if done == 0 {
                break;
            }
            printed += done;
        }
        assert!(world.stdio.has_slow_client());
        assert!(printed < 1 << 20, "{printed}");
        if leaves {
            drop(client);
            world.turn();
            assert!(!world.stdio.has_slow_client());
            assert_eq!(world.print(&chunk), 4096);
        } else {
            let mut got = 0;
            while got < printed {
                let part = take(&client);
                got += part.iter().filter(|b| **b == b'x').count();
                world.turn();
            }
            assert_eq!(got, printed);
        }
    }
}

#[test]
fn input_waits_for_the_process_and_survives_the_client() {
    let mut world = World::without_process();
    let mut client = world.attach();
    client.write_all(b"early").unwrap();
    client.shutdown(std::net::Shutdown::Both).unwrap();
    drop(client);
    world.turn();
    world.connect(true);
    world.turn();
    assert_eq!(world.read_stdin().unwrap(), b"early");
    world.turn();
    assert_eq!(world.read_stdin(), None);
}

#[test]
fn input_that_does_not_fit_is_kept_in_order() {
    let mut world = World::new(true);
    let client = world.attach();
    let input: Vec<u8> = (0..2_000_000u32)
        .flat_map(u32::to_le_bytes)
        .take(1 << 20)
        .collect();
    let (mut sent, mut got) = (0, Vec::new());
    let mut client = Some(client);
    loop {
        if let Some(mut open) = client.take() {
            while let Ok(n) = open.write(&input[sent..]) {
                sent += n;
                if sent == input.len() {
                    break;
                }
            }
            // Hanging up with much of it still on the way.
            client = (sent < input.len()).then_some(open);
        }
        world.turn();
        match world.read_stdin() {
            Some(part) => got.extend_from_slice(&part),
            None => break,
        }
    }
    assert!(got == input, "{} of {}", got.len(), input.len());
}

#[test]
fn the_end_of_input_closes_or_detaches() {
    let mut world = World::new(true);
    let client = world.attach();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    world.turn();
    assert_eq!(world.read_stdin(), None);
    world.print(b"still heard");
    world.turn();
    assert!(take(&client).ends_with(b"still heard"));

    let mut world = World::new(false);
    let client = world.attach();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    world.turn();
    assert_eq!(world.read_stdin(), Some(Vec::new()));
    assert_eq!((&client).read(&mut [0; 8]).unwrap(), 0);
    assert!(world.stdio.clients.is_empty());
}

#[test]
fn a_process_that_does_not_read_loses_its_input_not_its_client() {
    let mut world = World::new(true);
    let mut client = world.attach();
    world.stdin = None;
    for _ in 0..100 {
        let _ = client.write(&[b'y'; 65_536]);
        world.turn();
    }
    world.print(b"out");
    world.turn();
    assert!(take(&client).ends_with(b"out"));
}

#[test]
fn the_end_of_the_process_is_the_end_of_the_stream() {
    let mut world = World::new(true);
    let client = world.attach();
    world.print(b"last words");
    world.stdout = None;
    let mut cx = Context {
        poll: &world.poll,
        scratch: &mut world.scratch,
        log: None,
    };
    assert!(world.stdio.drain(&mut cx));
    world.stdio.finish(&world.poll);
    assert!(world.stdio.is_over());
    assert!(take(&client).ends_with(b"last words"));
    assert_eq!((&client).read(&mut [0; 8]).unwrap(), 0);
    assert_eq!(world.poll.wait(Some(Duration::ZERO)).unwrap().count(), 0);
}

#[test]
fn a_terminal_is_not_framed_and_comes_back_after_a_hang_up() {
    let mut world = World::without_process();
    let (console, terminal) = sys::pty::open().unwrap();
    let name = sys::pty::name(console.as_fd()).unwrap();
    let ends = Ends::Terminal {
        console,
        input: true,
    };
    let mut cx = Context {
        poll: &world.poll,
        scratch: &mut world.scratch,
        log: None,
    };
    world.stdio.connect(&mut cx, ends, true).unwrap();
    let mut client = world.attach();
    rustix::io::write(&terminal, b"one\n").unwrap();
    world.expect(&client, b"one\r\n");
    drop(terminal);
    world.turn();
    let again = std::fs::OpenOptions::new()
        .write(true)
        .read(true)
        .open(name)
        .unwrap();
    rustix::io::write(&again, b"two\n").unwrap();
    client.write_all(b"x").unwrap();
    world.expect(&client, b"two\r\n");
    world.stdio.resize(&world.poll, 99, 33).unwrap();
    assert_eq!(sys::pty::size(again.as_fd()).unwrap(), (99, 33));
}
