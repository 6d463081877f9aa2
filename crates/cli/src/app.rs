//! What every command has at hand: the program's name, the configuration, the client, the streams.

use std::cell::RefCell;
use std::env;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;

use api::client::{Client, Endpoint};
use rustix::termios;

use crate::config::Config;
use crate::exit::Failure;
use crate::flags::Parsed;
use crate::options::csv;

/// The default socket of Corten's daemon.
const CORTEN_SOCKET: &str = "/run/corten/corten.sock";
/// The default socket of Docker's daemon.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// One run of the program.
#[derive(Debug)]
pub struct App {
    /// The name the program was called by: `corten` or `docker`.
    pub program: String,
    /// Docker's configuration.
    pub config: Config,
    /// The daemon.
    pub client: Client,
    /// The context in use.
    pub context: String,
    /// Whether `--debug` was given.
    pub debug: bool,
    out: RefCell<io::BufWriter<io::Stdout>>,
}

impl App {
    /// Makes it from the global flags.
    pub fn new(program: &str, globals: &Parsed) -> Result<Self, Failure> {
        let directory = globals.changed("config").then(|| globals.str("config"));
        let (config, warning) = Config::load(directory);
        if let Some(warning) = warning {
            say(&warning);
        }
        for name in ["tls", "tlsverify"] {
            if globals.bool(name) {
                return Err(Failure::new(format!(
                    "--{name}: TLS connections are not yet supported by Corten"
                )));
            }
        }
        if env::var_os("DOCKER_TLS_VERIFY").is_some_and(|v| !v.is_empty()) {
            return Err(Failure::new(
                "DOCKER_TLS_VERIFY: TLS connections are not yet supported by Corten",
            ));
        }
        let (host, context) = resolve_host(program, globals, &config)?;
        let endpoint: Endpoint = host
            .parse()
            .map_err(|e: api::client::InvalidHost| Failure::new(e.to_string()))?;
        let version = env::var("DOCKER_API_VERSION")
            .ok()
            .filter(|v| !v.is_empty());
        let version = version.map(|v| v.trim_start_matches('v').to_owned());
        let mut client = Client::new(endpoint, version);
        for (name, value) in headers(&config)? {
            client.add_header(&name, &value);
        }
        client.add_header("user-agent", &user_agent());
        Ok(Self {
            program: program.to_owned(),
            config,
            client,
            context,
            debug: globals.bool("debug"),
            out: RefCell::new(io::BufWriter::with_capacity(64 << 10, io::stdout())),
        })
    }

    /// Writes to stdout; what was written is seen at the next [`App::flush`].
    pub fn put(&self, text: impl AsRef<[u8]>) -> Result<(), Failure> {
        Ok(self.out.borrow_mut().write_all(text.as_ref())?)
    }

    /// Writes a line to stdout at once.
    pub fn line(&self, text: impl AsRef<str>) -> Result<(), Failure> {
        self.put(text.as_ref())?;
        self.put("\n")?;
        self.flush()
    }

    /// Writes out what is left.
    pub fn flush(&self) -> Result<(), Failure> {
        Ok(self.out.borrow_mut().flush()?)
    }

    /// Says something on stderr.
    pub fn warn(&self, text: impl AsRef<str>) {
        say(text.as_ref());
    }
}

/// How this program names itself to daemons and registries.
pub fn user_agent() -> String {
    format!("Docker-Client/{} (linux)", env!("CARGO_PKG_VERSION"))
}

// The environment's headers are taken instead of the configuration's.
fn headers(config: &Config) -> Result<Vec<(String, String)>, Failure> {
    const VARIABLE: &str = "DOCKER_CUSTOM_HEADERS";
    let Some(text) = variable(VARIABLE) else {
        return Ok(config.http_headers());
    };
    let fields = csv(&text).map_err(|_| {
        Failure::new(format!(
            "failed to parse custom headers from {VARIABLE} environment variable: value must be formatted as comma-separated key=value pairs"
        ))
    })?;
    let failed = |why: &str, pair: &str| {
        Failure::new(format!(
            "failed to set custom headers from {VARIABLE} environment variable: {why}: '{pair}'"
        ))
    };
    let mut out = Vec::new();
    for pair in fields {
        let (name, value) = match pair.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value)),
            None => (pair.trim(), None),
        };
        match (name, value) {
            ("", _) => {
                return Err(failed(
                    "value contains a key=value pair with an empty key",
                    &pair,
                ));
            }
            (_, None) => return Err(failed("missing \"=\" in key=value pair", &pair)),
            (name, Some(value)) => out.push((name.to_owned(), value.to_owned())),
        }
    }
    Ok(out)
}

/// Writes a line to stderr; there is nobody to tell when that fails.
pub fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Whether this stream is a terminal.
pub fn is_terminal(stream: impl AsFd) -> bool {
    termios::isatty(stream)
}

// The order of Docker: flags, then the environment, then the context of the configuration.
fn resolve_host(
    program: &str,
    globals: &Parsed,
    config: &Config,
) -> Result<(String, String), Failure> {
    let hosts = globals.list("host");
    let context_flag = globals.str("context");
    if !hosts.is_empty() && !context_flag.is_empty() {
        return Err(Failure::new(
            "conflicting options: cannot specify both --host and --context",
        ));
    }
    match hosts.as_slice() {
        [] => {}
        [host] => return Ok((host.clone(), "default".to_owned())),
        _ => return Err(unresolved("Specify only one -H")),
    }
    if context_flag.is_empty() {
        let own = (program != "docker")
            .then(|| variable("CORTEN_HOST"))
            .flatten();
        if let Some(host) = own
            .or_else(|| variable("DOCKER_HOST"))
            .or_else(|| variable("CORTEN_HOST"))
        {
            return Ok((host, "default".to_owned()));
        }
    }
    let named =
        variable("DOCKER_CONTEXT").unwrap_or_else(|| config.text("currentContext").to_owned());
    let context = if context_flag.is_empty() {
        named
    } else {
        context_flag.to_owned()
    };
    if !context.is_empty() && context != "default" {
        return Ok((
            config
                .context_host(&context)
                .map_err(|error| unresolved(&error))?,
            context,
        ));
    }
    let socket = match program {
        "docker" if Path::new(DOCKER_SOCKET).exists() || !Path::new(CORTEN_SOCKET).exists() => {
            DOCKER_SOCKET
        }
        _ => CORTEN_SOCKET,
    };
    Ok((format!("unix://{socket}"), "default".to_owned()))
}

fn unresolved(why: &str) -> Failure {
    Failure::new(format!(
        "Failed to initialize: unable to resolve docker endpoint: {why}"
    ))
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
