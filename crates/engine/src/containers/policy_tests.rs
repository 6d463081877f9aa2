//! The table of states and commands.

use super::*;
use crate::container::Running;
use crate::containers::record::sample;
use spec::Timestamp;

fn states() -> Vec<State> {
    let running = Running {
        pid: 7,
        started_at: Timestamp::ZERO,
    };
    vec![
        State::Created,
        State::Running(running.clone()),
        State::Paused(running),
        State::Restarting,
        State::Exited,
        State::Removing,
        State::Dead,
    ]
}

/// One letter per state: `+` admitted, `=` nothing to do, `!` conflict.
fn row(verb: Verb) -> String {
    states()
        .into_iter()
        .map(|state| {
            let container = Container { state, ..sample() };
            match admit(&container, verb) {
                Ok(()) => '+',
                Err(r) if r.kind == ErrorKind::NotModified => '=',
                Err(r) if r.kind == ErrorKind::Conflict => '!',
                Err(_) => '?',
            }
        })
        .collect()
}

#[test]
fn table() {
    for (verb, want) in [
        //              created running paused restarting exited removing dead
        (Verb::Start, "+=!=+!!"),
        (Verb::Stop, "=+++=!="),
        (Verb::Restart, "+++++!!"),
        (Verb::Kill, "!+++!!!"),
        (Verb::Pause, "!+!!!!!"),
        (Verb::Unpause, "!!+!!!!"),
        (Verb::Remove, "+!!!+!+"),
        (Verb::RemoveForce, "+++++!+"),
        (Verb::Attach, "++!!+!+"),
        (Verb::Exec, "!+!!!!!"),
        (Verb::Touch, "!++!!!!"),
        (Verb::Change, "+++++!+"),
    ] {
        assert_eq!(row(verb), want, "{verb:?}");
    }
}

#[test]
fn texts_clients_match_on() {
    let running = Container {
        state: states().remove(1),
        ..sample()
    };
    assert_eq!(
        admit(&running, Verb::Remove).unwrap_err().message,
        "cannot remove container \"web\": container is running: stop the container before removing or force remove"
    );
    assert!(
        admit(&sample(), Verb::Exec)
            .unwrap_err()
            .message
            .ends_with("is not running")
    );
}

#[test]
fn restarts_back_off_and_respect_the_user() {
    let policy = |name: &str, most: i64| RestartPolicy {
        name: name.to_owned(),
        maximum_retry_count: most,
    };
    let ended = Ended {
        exit_code: 1,
        lasted: Duration::from_secs(1),
        by_user: false,
        restarts: 0,
        delay: None,
    };
    let always = policy("always", 0);
    assert_eq!(restart_delay(&always, ended), Some(FIRST_DELAY));
    let again = Ended {
        delay: Some(FIRST_DELAY),
        ..ended
    };
    assert_eq!(restart_delay(&always, again), Some(FIRST_DELAY * 2));
    let long = Ended {
        delay: Some(LAST_DELAY),
        lasted: STABLE,
        ..ended
    };
    assert_eq!(restart_delay(&always, long), Some(FIRST_DELAY));
    assert_eq!(
        restart_delay(
            &always,
            Ended {
                by_user: true,
                ..ended
            }
        ),
        None
    );
    let failure = policy("on-failure", 2);
    assert!(restart_delay(&failure, ended).is_some());
    assert_eq!(
        restart_delay(
            &failure,
            Ended {
                restarts: 2,
                ..ended
            }
        ),
        None
    );
    assert_eq!(
        restart_delay(
            &failure,
            Ended {
                exit_code: 0,
                ..ended
            }
        ),
        None
    );
    assert_eq!(restart_delay(&policy("", 0), ended), None);
}
