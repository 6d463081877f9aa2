//! Bytes that one thread writes and another reads, with bounded memory in between.
//!
//! A writer that is dropped before [`FeedWriter::finish`] fails its reader: half an archive must
//! not look like a whole one.

use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::stream::CHUNK;

/// Chunks on the way.
const IN_FLIGHT: usize = 8;

enum Piece {
    Bytes(Vec<u8>),
    End,
}

/// The end that writes.
pub(crate) struct FeedWriter {
    pieces: SyncSender<Piece>,
    current: Vec<u8>,
}

/// The end that reads.
pub(crate) struct FeedReader {
    pieces: Receiver<Piece>,
    current: Vec<u8>,
    at: usize,
    ended: bool,
}

pub(crate) fn feed() -> (FeedWriter, FeedReader) {
    let (sender, receiver) = sync_channel(IN_FLIGHT);
    let writer = FeedWriter {
        pieces: sender,
        current: Vec::with_capacity(CHUNK),
    };
    let reader = FeedReader {
        pieces: receiver,
        current: Vec::new(),
        at: 0,
        ended: false,
    };
    (writer, reader)
}

impl FeedWriter {
    fn send(&mut self) -> io::Result<()> {
        let chunk = std::mem::replace(&mut self.current, Vec::with_capacity(CHUNK));
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.pieces.send(Piece::Bytes(chunk)).map_err(gone)
    }

    /// Says that all was written.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.send()?;
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.pieces.send(Piece::End).map_err(gone)
    }
}

impl Write for FeedWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = bytes.len().min(CHUNK - self.current.len());
        self.current.extend_from_slice(&bytes[..len]);
        if self.current.len() == CHUNK {
            self.send()?;
        }
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for FeedReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.current.len() && !self.ended {
            match self.pieces.recv() {
                Ok(Piece::Bytes(bytes)) => (self.current, self.at) = (bytes, 0),
                Ok(Piece::End) => (self.ended, self.at) = (true, self.current.len()),
                Err(_) => return Err(io::Error::other("the writer gave up")),
            }
        }
        let left = &self.current[self.at..];
        let len = left.len().min(buffer.len());
        buffer[..len].copy_from_slice(&left[..len]);
        self.at += len;
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_half_of_it_is_an_error() {
        let (mut writer, mut reader) = feed();
        let text: Vec<u8> = (0..3 * CHUNK + 5).map(|n| (n % 251) as u8).collect();
        let copy = text.clone();
        let writing = std::thread::spawn(move || {
            writer.write_all(&copy).unwrap();
            writer.finish().unwrap();
        });
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        writing.join().unwrap();
        assert!(read == text);
        assert_eq!(reader.read(&mut [0; 9]).unwrap(), 0);
        let (mut writer, mut reader) = feed();
        writer.write_all(b"half").unwrap();
        drop(writer);
        assert!(reader.read_to_end(&mut Vec::new()).is_err());
        let (mut writer, reader) = feed();
        drop(reader);
        assert!(writer.write_all(&vec![0; CHUNK]).is_err());
    }
}
