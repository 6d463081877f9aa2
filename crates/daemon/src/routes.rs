//! The table of routes: every route of Docker's Engine API 1.51, and how much of each is there.
//!
//! `docs/compat.md` shows the same table; a test compares them.

mod containers;
mod exec;
mod files;
mod images;
mod networks;
mod refused;
mod registry;
mod streams;
mod system;
mod transfer;
mod volumes;

use hyper::Method;

use crate::error::ApiError;
use crate::router::Support::{Done, Partial, Refused};
use crate::router::{Route, match_path};

macro_rules! routes {
    ($($method:ident $pattern:literal $support:expr => $handler:path;)*) => {
        /// All routes, in the order in which they are tried.
        pub static ROUTES: &[Route] = &[$(Route {
            method: Method::$method,
            pattern: $pattern,
            support: $support,
            handler: |call| Box::pin($handler(call)),
        }),*];
    };
}

routes! {
    GET "/_ping" Done => system::ping;
    HEAD "/_ping" Done => system::ping;
    GET "/version" Done => system::version;
    GET "/info" Done => system::info;
    GET "/events" Done => system::events;
    GET "/system/df" Partial("no build cache exists") => system::disk_usage;
    POST "/auth" Done => registry::login;

    GET "/containers/json" Done => containers::list;
    POST "/containers/create" Partial("see the settings below") => containers::create;
    POST "/containers/prune" Done => containers::prune;
    GET "/containers/{id...}/json" Partial("no storage driver data") => containers::inspect;
    GET "/containers/{id...}/top" Done => containers::top;
    GET "/containers/{id...}/logs" Partial("driver json-file") => streams::logs;
    GET "/containers/{id...}/stats" Done => streams::stats;
    GET "/containers/{id...}/attach/ws" Done => streams::attach_websocket;
    POST "/containers/{id...}/attach" Done => streams::attach;
    POST "/containers/{id...}/start" Partial("no checkpoints") => containers::start;
    POST "/containers/{id...}/stop" Done => containers::stop;
    POST "/containers/{id...}/restart" Done => containers::restart;
    POST "/containers/{id...}/kill" Done => containers::kill;
    POST "/containers/{id...}/pause" Done => containers::pause;
    POST "/containers/{id...}/unpause" Done => containers::unpause;
    POST "/containers/{id...}/wait" Done => containers::wait;
    POST "/containers/{id...}/resize" Done => containers::resize;
    POST "/containers/{id...}/rename" Done => containers::rename;
    POST "/containers/{id...}/update" Partial("limits of memory, CPU and processes, restart policy") => containers::update;
    POST "/containers/{id...}/exec" Done => exec::create;
    POST "/exec/{id}/start" Done => exec::start;
    POST "/exec/{id}/resize" Done => exec::resize;
    GET "/exec/{id}/json" Done => exec::inspect;
    GET "/containers/{id...}/changes" Done => files::changes;
    GET "/containers/{id...}/export" Done => files::export;
    GET "/containers/{id...}/archive" Done => files::get;
    HEAD "/containers/{id...}/archive" Done => files::stat;
    PUT "/containers/{id...}/archive" Done => files::put;
    GET "/containers/{id}/checkpoints" Refused => refused::container;
    POST "/containers/{id}/checkpoints" Refused => refused::container;
    DELETE "/containers/{id}/checkpoints/{checkpoint}" Refused => refused::container;
    DELETE "/containers/{id...}" Done => containers::remove;

    GET "/images/json" Done => images::list;
    GET "/images/search" Done => registry::search;
    GET "/images/get" Done => transfer::save_many;
    POST "/images/load" Done => transfer::load;
    POST "/images/create" Partial("no import from a URL") => transfer::create;
    POST "/images/prune" Done => images::prune;
    GET "/images/{name...}/json" Done => images::inspect;
    GET "/images/{name...}/history" Done => images::history;
    GET "/images/{name...}/get" Done => transfer::save_one;
    POST "/images/{name...}/push" Done => transfer::push;
    POST "/images/{name...}/tag" Done => images::tag;
    DELETE "/images/{name...}" Done => images::remove;
    GET "/distribution/{name...}/json" Done => registry::distribution;
    POST "/commit" Done => files::commit;
    POST "/build" Refused => refused::route;
    POST "/build/prune" Done => images::prune_build_cache;
    POST "/build/cancel" Refused => refused::route;
    POST "/session" Refused => refused::route;
    POST "/grpc" Refused => refused::route;

    GET "/networks" Done => networks::list;
    GET "/networks/" Done => networks::list;
    GET "/networks/{id...}" Done => networks::inspect;
    POST "/networks/prune" Done => networks::prune;
    POST "/networks/create" Done => networks::create;
    POST "/networks/{id...}/connect" Done => networks::connect;
    POST "/networks/{id...}/disconnect" Done => networks::disconnect;
    DELETE "/networks/{id...}" Done => networks::remove;

    GET "/volumes" Done => volumes::list;
    POST "/volumes/prune" Done => volumes::prune;
    POST "/volumes/create" Partial("drivers local and those of v1 plugins") => volumes::create;
    GET "/volumes/{name}" Done => volumes::inspect;
    PUT "/volumes/{name}" Refused => volumes::update;
    DELETE "/volumes/{name}" Done => volumes::remove;
    POST "/volumes/{name}/rename" Done => volumes::rename;
    POST "/volumes/{name}/clone" Done => volumes::duplicate;
    GET "/volumes/{name}/export" Done => volumes::export;
    POST "/volumes/{name}/import" Done => volumes::import;
    POST "/volumes/{name}/protect" Done => volumes::protect;
    POST "/volumes/{name}/unprotect" Done => volumes::unprotect;

    GET "/plugins" Partial("there are none") => refused::empty_list;
    GET "/plugins/privileges" Refused => refused::route;
    POST "/plugins/pull" Refused => refused::route;
    POST "/plugins/create" Refused => refused::route;
    GET "/plugins/{name...}/json" Partial("there are none") => refused::no_plugin;
    POST "/plugins/{name...}/enable" Refused => refused::route;
    POST "/plugins/{name...}/disable" Refused => refused::route;
    POST "/plugins/{name...}/push" Refused => refused::route;
    POST "/plugins/{name...}/upgrade" Refused => refused::route;
    POST "/plugins/{name...}/set" Refused => refused::route;
    DELETE "/plugins/{name...}" Refused => refused::route;

    GET "/swarm" Refused => refused::swarm;
    POST "/swarm/init" Refused => refused::route;
    POST "/swarm/join" Refused => refused::route;
    POST "/swarm/leave" Refused => refused::swarm;
    POST "/swarm/update" Refused => refused::swarm;
    GET "/swarm/unlockkey" Refused => refused::swarm;
    POST "/swarm/unlock" Refused => refused::swarm;
    GET "/services" Refused => refused::swarm;
    GET "/services/{id}" Refused => refused::swarm;
    POST "/services/create" Refused => refused::swarm;
    POST "/services/{id}/update" Refused => refused::swarm;
    DELETE "/services/{id}" Refused => refused::swarm;
    GET "/services/{id}/logs" Refused => refused::swarm;
    GET "/nodes" Refused => refused::swarm;
    GET "/nodes/{id}" Refused => refused::swarm;
    DELETE "/nodes/{id}" Refused => refused::swarm;
    POST "/nodes/{id}/update" Refused => refused::swarm;
    GET "/tasks" Refused => refused::swarm;
    GET "/tasks/{id}" Refused => refused::swarm;
    GET "/tasks/{id}/logs" Refused => refused::swarm;
    GET "/secrets" Refused => refused::swarm;
    POST "/secrets/create" Refused => refused::swarm;
    GET "/secrets/{id}" Refused => refused::swarm;
    DELETE "/secrets/{id}" Refused => refused::swarm;
    POST "/secrets/{id}/update" Refused => refused::swarm;
    GET "/configs" Refused => refused::swarm;
    POST "/configs/create" Refused => refused::swarm;
    GET "/configs/{id}" Refused => refused::swarm;
    DELETE "/configs/{id}" Refused => refused::swarm;
    POST "/configs/{id}/update" Refused => refused::swarm;
}

/// The route of a request and the values of its variables.
///
/// # Errors
///
/// No route has this method and path; Docker does not tell the two apart.
pub fn find(method: &Method, path: &str) -> Result<(&'static Route, Vec<String>), ApiError> {
    ROUTES
        .iter()
        .filter(|route| route.method == *method)
        .find_map(|route| Some((route, match_path(route.pattern, path)?)))
        .ok_or_else(ApiError::page_not_found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literal_routes_come_before_variables() {
        let pattern =
            |method: Method, path: &str| find(&method, path).map(|(r, v)| (r.pattern, v.join(",")));
        assert_eq!(
            pattern(Method::GET, "/images/json").unwrap().0,
            "/images/json"
        );
        assert_eq!(
            pattern(Method::GET, "/images/a/b/json").unwrap(),
            ("/images/{name...}/json", "a/b".to_owned())
        );
        assert_eq!(
            pattern(Method::POST, "/containers/prune").unwrap().0,
            "/containers/prune"
        );
        assert_eq!(
            pattern(Method::POST, "/volumes/create").unwrap().0,
            "/volumes/create"
        );
        assert_eq!(
            pattern(Method::GET, "/containers/x/attach/ws").unwrap().0,
            "/containers/{id...}/attach/ws"
        );
        assert!(pattern(Method::PUT, "/_ping").is_err());
        assert!(pattern(Method::GET, "/containers").is_err());
        assert!(pattern(Method::GET, "/").is_err());
    }

    #[test]
    fn no_route_is_hidden_by_an_earlier_one() {
        for (at, route) in ROUTES.iter().enumerate() {
            let path = route.pattern.replace("...}", "}");
            let (found, _) = find(&route.method, &path).unwrap();
            assert_eq!(found.pattern, route.pattern, "route {at}");
        }
    }
}
