//! What a client sends, handed to a thread that may wait.

use std::io;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc::{Sender, channel};
use tokio_util::sync::CancellationToken;

/// Pieces on the way: client and thread work side by side. What is on the way fits into what the
/// allocator keeps, so that it is the same memory again and again.
const IN_FLIGHT: usize = 8;

/// Takes pieces from a client while the future is polled; a thread iterates over them.
///
/// The future belongs into the task that serves the client's connection, which has them already: a
/// task of its own would be woken for each. The iterator ends with an error once `cancel` is, so that
/// no thread waits for a client for ever; the future ends with the client or with the iterator.
pub(crate) fn of_client<S>(
    client: S,
    cancel: CancellationToken,
) -> (
    impl Iterator<Item = io::Result<Bytes>> + Send + use<S>,
    impl Future<Output = ()> + Send + use<S>,
)
where
    S: Stream<Item = io::Result<Bytes>> + Send + Unpin + 'static,
{
    let (pieces, mut incoming) = channel(IN_FLIGHT);
    let iterator = std::iter::from_fn(move || incoming.blocking_recv());
    (iterator, pass_on(client, pieces, cancel))
}

async fn pass_on<S>(mut client: S, pieces: Sender<io::Result<Bytes>>, cancel: CancellationToken)
where
    S: Stream<Item = io::Result<Bytes>> + Unpin,
{
    loop {
        let piece = tokio::select! {
            biased;
            () = cancel.cancelled() => Some(Err(io::Error::other("the container was changed meanwhile"))),
            () = pieces.closed() => None,
            piece = client.next() => piece,
        };
        let Some(piece) = piece else {
            return;
        };
        let is_last = piece.is_err();
        // Nobody listens any more, or there is nothing more to say.
        if pieces.send(piece).await.is_err() || is_last {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(pieces: impl Iterator<Item = io::Result<Bytes>>) -> Vec<Result<Bytes, String>> {
        pieces
            .map(|piece| piece.map_err(|error| error.to_string()))
            .collect()
    }

    #[tokio::test]
    async fn pieces_come_in_order_and_end() {
        let sent: Vec<Bytes> = (0..100u8).map(|number| Bytes::from(vec![number])).collect();
        let client = futures_util::stream::iter(sent.clone().into_iter().map(Ok));
        let (pieces, passing) = of_client(client, CancellationToken::new());
        let reading = tokio::task::spawn_blocking(|| texts(pieces));
        let ((), got) = tokio::join!(passing, reading);
        assert_eq!(got.unwrap(), sent.into_iter().map(Ok).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_cancelled_client_that_says_nothing_is_an_error() {
        let cancel = CancellationToken::new();
        let first = futures_util::stream::iter([Ok(Bytes::from_static(b"1"))]);
        let silent = first.chain(futures_util::stream::pending());
        let (pieces, passing) = of_client(silent, cancel.clone());
        let reading = tokio::task::spawn_blocking(|| texts(pieces));
        cancel.cancel();
        let ((), got) = tokio::join!(passing, reading);
        let got = got.unwrap();
        assert!(got.last().is_some_and(Result::is_err), "{got:?}");
    }

    #[tokio::test]
    async fn a_client_is_let_go_when_nobody_listens() {
        let silent = futures_util::stream::pending::<io::Result<Bytes>>();
        let (pieces, passing) = of_client(silent, CancellationToken::new());
        drop(pieces);
        passing.await;
    }
}
