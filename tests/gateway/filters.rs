//! What filters change on the way, answer at once, and copy.

use crate::common::Io;
use crate::common::origin::Origin;
use crate::common::server::Server;
use crate::stage::ask;
use crate::stage::get;
use crate::stage::proxy;

crate::on_both_drivers!(
    request_fields_are_changed,
    response_fields_are_changed,
    a_rewrite_changes_path_and_host,
    a_redirect_answers_at_once,
    a_mirror_gets_a_copy_and_its_answer_is_ignored,
    a_broken_mirror_hurts_nobody,
);

fn quiet() -> Origin {
    Origin::start(|call| {
        call.read_body();
        let fields = "X-Old: a\r\nX-Old: b\r\nX-Gone: 1\r\nX-Both: 1\r\n";
        call.respond(200, fields, "ok")
    })
}

fn request_fields_are_changed(io: Io) {
    let origin = quiet();
    let filters = "filters = [{ request_headers = { set = { X-Set = \"new\" }, \
                   add = { X-Add = \"more\", X-Fresh = \"1\" }, remove = [\"x-gone\"] } }]";
    let server = proxy(io, &origin, filters);
    get(&server, "/", "X-Set: old\r\nX-Set: older\r\nX-Add: some\r\nX-GONE: 1\r\nX-Kept: 1\r\n");
    let asked = origin.await_asked(1).remove(0);
    assert_eq!(asked.all("x-set"), ["new"]);
    assert_eq!(asked.field("x-add"), Some("some,more"));
    assert_eq!(asked.field("x-fresh"), Some("1"));
    assert_eq!(asked.field("x-gone"), None);
    assert_eq!(asked.field("x-kept"), Some("1"));
}

fn response_fields_are_changed(io: Io) {
    let origin = quiet();
    let filters = "filters = [{ response_headers = { set = { X-Old = \"new\" }, \
                   add = { X-Both = \"2\", X-Fresh = \"1\" }, remove = [\"X-Gone\"] } }]";
    let server = proxy(io, &origin, filters);
    let response = get(&server, "/", "");
    assert_eq!(response.field("x-old"), Some("new"));
    assert_eq!(response.field("x-both"), Some("1,2"));
    assert_eq!(response.field("x-fresh"), Some("1"));
    assert_eq!(response.field("x-gone"), None);
    assert_eq!(response.text(), "ok");
}

fn a_rewrite_changes_path_and_host(io: Io) {
    let origin = quiet();
    let url = origin.url();
    let settings = format!(
        "[[route]]\npath = \"/v1\"\nbackend = \"{url}\"\n\
         filters = [{{ rewrite = {{ hostname = \"in.example\", \
         path = {{ prefix = \"/new\" }} }} }}]\n\
         [[route]]\npath = \"/full\"\nbackend = \"{url}\"\n\
         filters = [{{ rewrite = {{ path = {{ full = \"/one\" }} }} }}]\n\
         [[route]]\npath = \"/cut\"\nbackend = \"{url}\"\n\
         filters = [{{ rewrite = {{ path = {{ prefix = \"/\" }} }} }}]\n"
    );
    let server = Server::start(io, &settings);
    for (target, want) in [
        ("/v1/a/b?q=1", "/new/a/b?q=1"),
        ("/v1", "/new"),
        ("/full/a?q=1", "/one?q=1"),
        ("/cut/a%2Fb", "/a%2Fb"),
        ("/cut", "/"),
    ] {
        assert_eq!(get(&server, target, "").status, 200);
        assert_eq!(origin.asked().last().unwrap().target, want, "{target}");
    }
    let asked = origin.asked();
    assert_eq!(asked[0].field("host"), Some("in.example"));
    assert_eq!(asked[0].field("x-forwarded-host"), Some("h"), "what the client asked for");
    assert_eq!(asked[2].field("host"), Some("h"));
}

fn a_redirect_answers_at_once(io: Io) {
    let settings = "[[route]]\npath = \"/old\"\n\
         filters = [{ redirect = { path = { prefix = \"/new\" }, status = 301 } }]\n\
         [[route]]\npath = \"/safe\"\n\
         filters = [{ redirect = { scheme = \"https\", hostname = \"b.example\" } }]\n\
         [[route]]\npath = \"/port\"\n\
         filters = [{ redirect = { port = 8443, status = 307 } }]\n";
    let server = Server::start(io, settings);
    let port = server.address.port();
    for (target, status, location) in [
        ("/old/a?q=%20", 301, format!("http://a.example:{port}/new/a?q=%20")),
        ("/safe/x", 302, "https://b.example/safe/x".to_owned()),
        ("/port", 307, "http://a.example:8443/port".to_owned()),
    ] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: a.example:{port}\r\n\r\n");
        let response = ask(&server, &head);
        assert_eq!(response.status, status, "{response:?}");
        assert_eq!(response.field("location"), Some(location.as_str()));
    }
}

fn a_mirror_gets_a_copy_and_its_answer_is_ignored(io: Io) {
    let origin = quiet();
    let copy = Origin::start(|call| call.respond(500, "X-Copy: 1\r\n", "wrong"));
    let filters = format!("filters = [{{ mirror = {{ backend = \"{}\" }} }}]", copy.url());
    let server = proxy(io, &origin, &filters);
    for n in 0..5 {
        let response = get(&server, &format!("/{n}"), "X-Kept: 1\r\n");
        assert_eq!((response.status, response.text().as_str()), (200, "ok"));
        assert_eq!(response.field("x-copy"), None);
    }
    let copies = copy.await_asked(5);
    let mut targets: Vec<_> = copies.iter().map(|asked| asked.target.clone()).collect();
    targets.sort_unstable();
    assert_eq!(targets, ["/0", "/1", "/2", "/3", "/4"]);
    assert!(copies.iter().all(|asked| asked.field("x-kept") == Some("1")));
    assert_eq!(origin.asked().len(), 5);
}

fn a_broken_mirror_hurts_nobody(io: Io) {
    let origin = quiet();
    let silent = Origin::start(|call| call.hold());
    let gone = Origin::start(|call| call.respond(200, "", "")).url();
    let mirror = |url: &str| format!("{{ mirror = {{ backend = \"{url}\" }} }}");
    let filters = format!("filters = [{}, {}]", mirror(&silent.url()), mirror(&gone));
    let server = proxy(io, &origin, &filters);
    for _ in 0..20 {
        assert_eq!(get(&server, "/", "").text(), "ok");
    }
    silent.await_asked(20);
}
