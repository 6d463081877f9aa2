//! What a client sends, handed to a thread that may wait.

use std::io;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc::{Sender, channel};
use tokio_util::sync::CancellationToken;

/// Pieces on the way: the client and the thread work side by side, some hundred kilobytes apart.
const IN_FLIGHT: usize = 16;

/// Takes pieces from a client as they come; a thread iterates over them.
///
/// The iterator ends with an error once `cancel` is, so that no thread waits for a client for ever.
pub(crate) fn of_client<S>(
    client: S,
    cancel: CancellationToken,
) -> impl Iterator<Item = io::Result<Bytes>> + Send + use<S>
where
    S: Stream<Item = io::Result<Bytes>> + Send + Unpin + 'static,
{
    let (pieces, mut incoming) = channel(IN_FLIGHT);
    tokio::spawn(pass_on(client, pieces, cancel));
    std::iter::from_fn(move || incoming.blocking_recv())
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
        let pieces = of_client(client, CancellationToken::new());
        let got = tokio::task::spawn_blocking(|| texts(pieces)).await.unwrap();
        assert_eq!(got, sent.into_iter().map(Ok).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_cancelled_client_that_says_nothing_is_an_error() {
        let cancel = CancellationToken::new();
        let first = futures_util::stream::iter([Ok(Bytes::from_static(b"1"))]);
        let pieces = of_client(first.chain(futures_util::stream::pending()), cancel.clone());
        let reading = tokio::task::spawn_blocking(|| texts(pieces));
        cancel.cancel();
        let got = reading.await.unwrap();
        assert!(got.last().is_some_and(Result::is_err), "{got:?}");
    }

    #[tokio::test]
    async fn a_client_is_let_go_when_nobody_listens() {
        let (gone, there) = (CancellationToken::new(), CancellationToken::new());
        let guard = gone.clone().drop_guard();
        let client = futures_util::stream::pending().map(move |()| {
            let _kept = &guard;
            Ok(Bytes::new())
        });
        drop(of_client(client, there));
        gone.cancelled().await;
    }
}
