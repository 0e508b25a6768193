//! Chromium's `EventSource` against the real server: the server's own page, a stream over a
//! restart, cuts at any byte, and a page on another origin.

use crate::fake::Fake;
use crate::fake::answer;
use crate::fake::stream;
use crate::process::installed;
use crate::proxy::Proxy;
use crate::server::Server;
use crate::webdriver::Browser;
use serde_json::json;

/// A browser, or `None` and a loud word where there is none.
fn browser(test: &str) -> Option<Browser> {
    let there = installed("chromium", test) && installed("chromedriver", test);
    there.then(Browser::start)
}

/// Makes an `EventSource` that keeps what it sees in `seen`.
const WATCH: &str = "
    window.seen = { events: [], opens: 0, errors: 0 };
    seen.stream = new EventSource('/.well-known/mercure?topic=news');
    seen.stream.onopen = () => seen.opens += 1;
    seen.stream.onerror = () => seen.errors += 1;
    const keep = (e) => seen.events.push([e.type, e.lastEventId, e.data]);
    for (const type of ['message', 'gap', 't']) seen.stream.addEventListener(type, keep);
";

#[test]
fn chromium_receives_and_resumes_over_a_restart() {
    let Some(browser) = browser("chromium_receives_and_resumes_over_a_restart") else { return };
    let mut server = Server::start("");
    browser.open(&server.home());
    browser.run(WATCH);
    browser.wait("return seen.opens === 1");
    // The page publishes, and receives what it published.
    let publish = "return (async () => {
        const body = new URLSearchParams(
            { topic: 'news', type: 't', id: 'a é \"q\"', data: ' one\\r\\n\\ntwo' });
        const answer = await fetch('/.well-known/mercure', { method: 'POST', body });
        return [answer.status, await answer.text()];
    })()";
    assert_eq!(browser.run(publish), json!([200, "a é \"q\""]));
    browser.wait("return seen.events.length === 1");
    assert_eq!(browser.run("return seen.events"), json!([["t", "a é \"q\"", " one\n\ntwo"]]));
    let before = server.publish("news", "before");
    browser.wait("return seen.events.length === 2");

    server.kill();
    browser.wait("return seen.errors > 0 && seen.stream.readyState === EventSource.CONNECTING");
    server.restart();
    // The history is gone, and the server says from where: the last id that the browser sent.
    browser.wait("return seen.opens === 2 && seen.events.length === 3");
    let after = server.publish("news", "after");
    browser.wait("return seen.events.length === 4");
    let events = browser.run("return seen.events");
    assert_eq!(events[1], json!(["message", before, "before"]));
    assert_eq!(events[2][0], "gap");
    let gap: serde_json::Value = serde_json::from_str(events[2][2].as_str().unwrap()).unwrap();
    assert_eq!(gap["from"], json!(before));
    assert_eq!(events[3], json!(["message", after, "after"]));
}

#[test]
fn chromium_loses_nothing_when_cut() {
    let Some(browser) = browser("chromium_loses_nothing_when_cut") else { return };
    let server = Server::start("");
    let proxy = Proxy::to(server.address);
    browser.open(&format!("http://{}/", proxy.address));
    browser.run(WATCH);
    browser.wait("return seen.opens === 1");
    server.publish("news", "0");
    browser.wait("return seen.events.length === 1");
    proxy.cut();
    let want: Vec<String> = (0..300).map(|n| n.to_string()).collect();
    for event in &want[1..] {
        server.publish("news", event);
    }
    browser.wait("return seen.events.length >= 300");
    let cuts = proxy.mend();
    assert_eq!(browser.run("return seen.events.map((e) => e[2])"), json!(want));
    assert!(cuts >= 3, "only {cuts} cuts: the test proves little");
}

#[test]
fn chromium_shows_the_servers_page() {
    let Some(browser) = browser("chromium_shows_the_servers_page") else { return };
    let mut server = Server::start("");
    browser.open(&server.home());
    let open = "return document.querySelector('#state').className === 'open'";
    browser.wait(open);
    browser.run("document.querySelector('#data').value = '<b>from the page</b>'");
    browser.run("document.querySelector('#publish button').click()");
    browser.wait("return document.querySelector('#sent').textContent.startsWith('published as')");
    // Any type shows, without being named first.
    browser.run(
        "document.querySelector('#type').value = 'price';
         document.querySelector('#id').value = 'a é \"q\"';
         document.querySelector('#data').value = ' one\\n\\ntwo: 2';
         document.querySelector('#publish button').click()",
    );
    browser.wait("return document.querySelector('#count').textContent === '2'");
    let about = "return document.querySelector('#events .event .about').textContent";
    let about = browser.run(about);
    assert!(about.as_str().unwrap().ends_with("pricea é \"q\""), "{about}");
    server.publish("anything", "from+outside");
    browser.wait("return document.querySelector('#count').textContent === '3'");
    let shown = "return [...document.querySelectorAll('#events pre')].map((e) => e.textContent)";
    let want = json!(["from outside", " one\n\ntwo: 2", "<b>from the page</b>"]);
    assert_eq!(browser.run(shown), want);
    let last = browser.run("return document.querySelector('#last').textContent");
    server.restart();
    browser.wait("return document.querySelector('#gaps').textContent === '1'");
    browser.wait(open);
    let gap = browser.run("return document.querySelector('#events .gap pre').textContent");
    assert!(gap.as_str().unwrap().contains(last.as_str().unwrap()), "resumed from {last}: {gap}");
}

#[test]
fn chromium_shows_a_streams_page() {
    let Some(browser) = browser("chromium_shows_a_streams_page") else { return };
    let events = "retry: 600000\nevent: price\nid: 7\ndata: 1\rdata: 2\r\n\r\ndata\n\n: no\n\n";
    let upstream = Fake::new(vec![stream(events)]);
    let server = Server::start(&format!(
        "[[upstream]]\nname = \"prices\"\nurl = \"{}\"\n[[route]]\npath = {{ exact = \"/s\" }}\n\
         upstream = \"prices\"\n[[route]]\npath = {{ exact = \"/\" }}\npage = \"/s\"",
        upstream.url
    ));
    browser.open(&server.home());
    browser.wait("return document.querySelector('#count').textContent === '2'");
    let shown = "return [...document.querySelectorAll('#events .event')].map((e) =>
        [...e.querySelectorAll('span, pre')].slice(1).map((part) => part.textContent))";
    // Where the upstream names no id of its own, the gateway does.
    let events = browser.run(shown);
    assert_eq!((&events[0][0], &events[0][2]), (&json!("message"), &json!("")));
    assert_eq!(events[1], json!(["price", "7", "1\n2"]));
    // Nothing of the hub is there, and a refusal says why.
    let hub = "return [...document.querySelectorAll('#sending, #choose, #secret')]
        .every((part) => part.getClientRects().length === 0)";
    assert_eq!(browser.run(hub), json!(true));
    browser.run("new Stream('/nowhere', {}, { refused(why) { window.why = why; } })");
    assert_eq!(
        browser.wait("return window.why"),
        json!("404 Not Found: no route takes this request")
    );
}

#[test]
fn chromium_runs_the_example_on_another_origin() {
    let Some(browser) = browser("chromium_runs_the_example_on_another_origin") else { return };
    let page = std::fs::read_to_string("examples/browser/index.html").unwrap();
    // The page's server: the page, and nothing for the icon that browsers ask for.
    let page = answer("200 OK", "Content-Type: text/html\r\nConnection: close\r\n", &page);
    let site = Fake::new(vec![page.clone(), page.clone(), page]);
    let origin = site.url.strip_suffix("/events").unwrap();
    let server = Server::start(&format!("cors_origins = [\"{origin}\"]"));
    browser.open(&format!("{origin}/?hub={}", server.hub()));
    browser.wait("return document.querySelector('#state').value === 'open'");
    browser.run(
        "document.querySelector('#text').value = 'hello';
         document.querySelector('#form button').click()",
    );
    browser.wait("return document.querySelector('#events li')?.textContent === 'hello'");
}
