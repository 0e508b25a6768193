//! Texts with one mistake each, the key that is to blame, and a part of what is said.

pub(super) const API: &str = "[[backend]]\nname = \"api\"\nendpoints = [\"http://a\"]\n";
pub(super) const FEED: &str = "[[upstream]]\nname = \"feed\"\nurl = \"http://a/{channel}\"\n";
const UP: &str = "[[upstream]]\nname = \"up\"\n";
pub(super) const ROUTE_TO: &str = "[[route]]\nbackend = \"http://a\"\n";

/// Each of these has one error: its key, and a part of what is said.
pub(super) const WRONG: &[(&str, &[&str], &str, &str)] = &[
    // Unknown keys and names.
    ("", &["[[routes]]\nhub = true"], "routes", "did you mean route?"),
    (
        "",
        &["[[backend]]\nname = \"a\"\nendpoint = []"],
        "backend[0].endpoint",
        "did you mean endpoints?",
    ),
    (API, &["[[route]]\nbackend = \"aip\""], "route[0].backend", "did you mean api?"),
    (API, &["[[route]]\nbackend = \"stranger\""], "route[0].backend", "there is api"),
    ("", &["[[route]]\nupstream = \"x\""], "route[0].upstream", "there is none"),
    ("", &["[[route]]\nbackend = \"localhost:3000\""], "route[0].backend", "write http://"),
    (
        "",
        &[ROUTE_TO, "listeners = [\"defualt\"]"],
        "route[0].listeners[0]",
        "did you mean default?",
    ),
    ("", &[ROUTE_TO, "hostname = [\"a\"]"], "route[0].hostname", "did you mean hostnames?"),
    (
        "",
        &["[[route]]\nhub = true\nmatches = [{ path = \"/a\" }, { pth = \"/a\" }]"],
        "route[0].matches[1].pth",
        "did you mean path?",
    ),
    // Keys of other tables.
    (
        "",
        &[ROUTE_TO, "method = \"GET\""],
        "route[0].method",
        "method is a key of `matches` of a rule",
    ),
    ("", &[ROUTE_TO, "methods = []"], "route[0].methods", "method is a key of `matches`"),
    ("", &[ROUTE_TO, "host = \"a\""], "route[0].host", "did you mean hostnames?"),
    ("", &[ROUTE_TO, "redirect = {}"], "route[0].redirect", "redirect is a key of `filters`"),
    (API, &["url = \"http://a\""], "backend[0].url", "url is a key of `endpoints` of a backend"),
    ("", &[ROUTE_TO, "frobnicator = 1"], "route[0].frobnicator", "`tidegate check --keys`"),
    // Values that lack something.
    (
        "",
        &["[[backend]]\nname = \"a\"\nendpoints = [\"a:1\"]"],
        "backend[0].endpoints[0]",
        "write http:// or https://",
    ),
    (
        "",
        &["[[backend]]\nname = \"a\"\nendpoints = [\"unix:run\"]"],
        "backend[0].endpoints[0]",
        "absolute path of a socket",
    ),
    ("", &[ROUTE_TO, "timeouts = \"5s\""], "route[0].timeouts", "write timeouts = { .. }"),
    ("", &["[[route]]\nfilters = [\"x\"]"], "route[0].filters[0]", "remedy: give such a value"),
    ("", &[ROUTE_TO, "timeouts = { idle = 5 }"], "route[0].timeouts.idle", "write it as \"250ms\""),
    (
        "",
        &["[[route]]\nfilters = [{ redirect = { status = 300 } }]"],
        "route[0].filters[0].redirect.status",
        "one of 301, 302, 303, 307, 308",
    ),
    // Missing and doubled.
    ("", &["[[listener]]\nname = \"a\""], "listener[0].listen", "is missing"),
    ("", &[UP], "upstream[0].url", "is missing"),
    ("", &["[listener]\nname = \"a\""], "listener", "a list of tables, as [[listener]]"),
    (API, &[API], "backend[1].name", "api is taken already"),
    (
        "",
        &["[[listener]]\nname = \"default\"\nlisten = \"127.0.0.1:1\""],
        "listener[0].name",
        "taken",
    ),
    ("", &[ROUTE_TO, "name = \"route-1\"\n", ROUTE_TO], "route[1].name", "taken"),
    (
        "",
        &["[[backend]]\nname = \"none\"\nendpoints = [\"http://a\"]"],
        "backend[0].name",
        "leads nowhere",
    ),
    (
        "",
        &["[[backend]]\nname = \"http://a\"\nendpoints = [\"http://a\"]"],
        "backend[0].name",
        "letters",
    ),
    // Listeners.
    (
        "",
        &["[[listener]]\nname = \"a\"\nlisten = \"127.0.0.1:8080\""],
        "listener[0].listen",
        "takes the place of the listener default",
    ),
    (
        "",
        &["[[listener]]\nname = \"a\"\nlisten = \"127.0.0.1:9090\""],
        "admin",
        "must differ from listener[0].listen",
    ),
    (
        "",
        &["[[listener]]\nname = \"a\"\nlisten = \"127.0.0.1:1\"\nhostname = \"10.0.0.1\""],
        "listener[0].hostname",
        "not an address",
    ),
    // Backends.
    ("", &["[[backend]]\nname = \"a\"\nendpoints = []"], "backend[0].endpoints", "1 to 256"),
    (
        "",
        &["[[backend]]\nname = \"a\"\nendpoints = [\"http://a\", \"https://a\"]"],
        "backend[0].endpoints[1]",
        "differs in scheme",
    ),
    (
        "",
        &["[[backend]]\nname = \"a\"\nendpoints = [\"http://a/x\"]"],
        "backend[0].endpoints[0]",
        "an address",
    ),
    (
        "",
        &["[[backend]]\nname = \"a\"\nendpoints = [{ weight = 2 }]"],
        "backend[0].endpoints[0].url",
        "is missing",
    ),
    (
        "",
        &["[[backend]]\nname = \"a\"\nendpoints = [\"https://a\", \"https://b\"]"],
        "backend[0].tls",
        "no name to expect",
    ),
    (API, &["tls = {}"], "backend[0].tls", "has no place beside http"),
    (API, &["health = { statuses = [399, 200] }"], "backend[0].health.statuses", "two statuses"),
    (API, &["health = { statuses = [200, 600] }"], "backend[0].health.statuses[1]", "to 599"),
    (API, &["affinity = { max_age = \"1h\" }"], "backend[0].affinity.cookie", "is missing"),
    (
        "",
        &["[[backend]]\nname = \"a\"\nendpoints = [\"https://a\"]\ntls = { ca_file = \"no.pem\" }"],
        "backend[0].tls.ca_file",
        "cannot be read",
    ),
    (
        "",
        &["[[backend]]\nname = \"a\"\nendpoints = [\"https://a\"]\n\
             tls = { ca_file = \"empty.pem\" }"],
        "backend[0].tls.ca_file",
        "BEGIN CERTIFICATE",
    ),
    (
        "",
        &["[[backend]]\nname = \"a\"\nendpoints = [\"https://a\"]\ntls = { key_file = \"k.pem\" }"],
        "backend[0].tls",
        "belong together",
    ),
    // Upstreams.
    ("", &[UP, "url = \"http://{query.host}/\""], "upstream[0].url", "an http or https URL"),
    ("", &[UP, "url = \"http://a/{host}\""], "upstream[0].url", "unknown variable"),
    ("", &[UP, "url = \"http://a/{header.cookie}\""], "upstream[0].url", "`public` is false"),
    (
        "",
        &[UP, "url = \"http://a\"\nheaders = [\"a\", \"Cookie\"]"],
        "upstream[0].headers",
        "`public` decides",
    ),
    (
        "",
        &[UP, "url = \"http://a\"\nheaders = [\"Host\"]"],
        "upstream[0].headers",
        "belongs to the connection",
    ),
    (
        "",
        &[UP, "url = \"http://a\"\nheaders = [\"A\", \"a\"]"],
        "upstream[0].headers[1]",
        "in the list already",
    ),
    (FEED, &["always_on = true"], "upstream[0].always_on", "without variables"),
    ("", &[UP, "url = \"http://a\"\nmultiplex = true"], "upstream[0].multiplex", "needs {channel}"),
    (
        "",
        &[UP, "url = \"http://a\"\nprefix_types = true"],
        "upstream[0].prefix_types",
        "needs {channel}",
    ),
    ("", &[UP, "url = \"http://a\"\ntls = {}"], "upstream[0].tls", "beside an http URL"),
    (
        API,
        &[UP, "url = \"https://a\"\nbackend = \"api\""],
        "upstream[0].url",
        "scheme of its backend, http",
    ),
    (
        FEED,
        &["event_bytes_max = \"2MiB\""],
        "upstream[0].event_bytes_max",
        "must not exceed lag_bytes_max",
    ),
    (FEED, &["backoff_min = \"1m\""], "upstream[0].backoff_min", "must not exceed backoff_max"),
    (
        FEED,
        &["history_bytes_max = \"1GiB\""],
        "upstream[0].history_bytes_max",
        "must not exceed history_total",
    ),
    (FEED, &["initial = 1001"], "upstream[0].initial", "must not exceed history_events_max"),
    (FEED, &["lag_bytes_max = \"512MiB\""], "upstream[0].lag_bytes_max", "limits.unsent_bytes_max"),
    // Rules: what may stand together.
    ("", &["[[route]]\npath = \"/a\""], "route[0]", "leads nowhere"),
    ("", &["[[route]]\nhub = false"], "route[0]", "leads nowhere"),
    (
        "",
        &["[[route]]\nhub = true\nbackend = \"http://a\""],
        "route[0].backend",
        "second end beside hub",
    ),
    ("", &[ROUTE_TO, "path = \"/a\"\nmatches = []"], "route[0].path", "also by matches"),
    ("", &["[[route]]\nhub = true\nretries = 1"], "route[0].retries", "needs a backend"),
    ("", &["[[route]]\nhub = true\nchannels = [\"a\"]"], "route[0].channels", "needs an upstream"),
    (
        "",
        &["[[route]]\npath = \"/a\"\n[[route.rule]]\nhub = true"],
        "route[0].path",
        "stands beside [[route.rule]]",
    ),
    ("", &["[[route]]\nrule = []"], "route[0].rule", "1 to 16"),
    ("", &["[[route]]\nlisteners = []\nhub = true"], "route[0].listeners", "nobody reaches"),
    (
        "",
        &[
            "[[listener]]\nname = \"a\"\nlisten = \"127.0.0.1:1\"\nhostname = \"*.b\"\n",
            ROUTE_TO,
            "listeners = [\"a\"]\nhostnames = [\"b\"]",
        ],
        "route[0].hostnames",
        "no host that",
    ),
    // Matches.
    ("", &[ROUTE_TO, "path = \"a\""], "route[0].path", "a path"),
    ("", &[ROUTE_TO, "path = { regex = \"(\" }"], "route[0].path.regex", "unclosed group"),
    (
        "",
        &[ROUTE_TO, "path = { exact = \"/a\", prefix = \"/b\" }"],
        "route[0].path",
        "a prefix, as",
    ),
    ("", &[ROUTE_TO, "path = {}"], "route[0].path", "a prefix, as"),
    (
        "",
        &[ROUTE_TO, "matches = [{ method = \"get\" }]"],
        "route[0].matches[0].method",
        "in capitals",
    ),
    (
        "",
        &[ROUTE_TO, "matches = [{ headers = { \"a b\" = \"1\" } }]"],
        "route[0].matches[0].headers.a b",
        "no request can have",
    ),
    (
        "",
        &[ROUTE_TO, "matches = [{ headers = { A = \"1\", a = \"2\" } }]"],
        "route[0].matches[0].headers.a",
        "given twice",
    ),
    (
        "",
        &[ROUTE_TO, "matches = [{ query = { a = { exakt = \"1\" } } }]"],
        "route[0].matches[0].query.a",
        "a value, or",
    ),
    ("", &[ROUTE_TO, "hostnames = [\"a\", \"*\"]"], "route[0].hostnames[1]", "a host name"),
    // Filters.
    (
        "",
        &[ROUTE_TO, "filters = [{ rewrite = {} }, { rewrite = {} }]"],
        "route[0].filters[1]",
        "each kind once",
    ),
    (
        "",
        &["[[route]]\nfilters = [{ rewrite = {} }, { redirect = {} }]"],
        "route[0].filters[1]",
        "beside a rewrite",
    ),
    ("", &[ROUTE_TO, "filters = [{ redirect = {} }]"], "route[0].filters", "leads nowhere else"),
    ("", &[ROUTE_TO, "filters = [{}]"], "route[0].filters[0]", "one filter"),
    (
        "",
        &[ROUTE_TO, "filters = [{ rewrite = {}, mirror = { backend = \"http://a\" } }]"],
        "route[0].filters[0]",
        "one filter",
    ),
    (
        "",
        &["[[route]]\nhub = true\nfilters = [{ rewrite = { hostname = \"a\" } }]"],
        "route[0].filters",
        "there is none",
    ),
    (
        "",
        &[
            ROUTE_TO,
            "path = { exact = \"/a\" }\nfilters = [{ rewrite = { path = { prefix = \"/b\" } } }]",
        ],
        "route[0].filters",
        "exactly one match",
    ),
    (
        "",
        &[
            ROUTE_TO,
            "matches = [{ path = \"/a\" }, { path = \"/b\" }]\n\
             filters = [{ rewrite = { path = { prefix = \"/b\" } } }]",
        ],
        "route[0].filters",
        "exactly one match",
    ),
    (
        "",
        &["[[route]]\npath = { exact = \"/a\" }\n\
             [[route.backends]]\nname = \"http://a\"\n\
             filters = [{ rewrite = { path = { prefix = \"/b\" } } }]"],
        "route[0].backends",
        "exactly one match",
    ),
    (
        "",
        &["[[route]]\nfilters = [{ redirect = { status = 304 } }]"],
        "route[0].filters[0].redirect.status",
        "301, 302",
    ),
    (
        "",
        &[ROUTE_TO, "filters = [{ request_headers = { set = { \"Content-Length\" = \"1\" } } }]"],
        "route[0].filters[0].request_headers",
        "content-length",
    ),
    (
        "",
        &[ROUTE_TO, "filters = [{ request_headers = { remove = [\"Host\"] } }]"],
        "route[0].filters[0].request_headers",
        "use the filter rewrite",
    ),
    (
        "",
        &[
            ROUTE_TO,
            "filters = [{ request_headers = { set = { \"X-A\" = \"1\" }, remove = [\"x-a\"] } }]",
        ],
        "route[0].filters[0].request_headers",
        "two actions for x-a",
    ),
    (
        "",
        &[ROUTE_TO, "filters = [{ request_headers = { set = { a = \"1\\r\\nb: 2\" } } }]"],
        "route[0].filters[0].request_headers.set.a",
        "control characters",
    ),
    (
        "",
        &[ROUTE_TO, "filters = [{ mirror = { backend = \"http://a\", fraction = [2, 1] } }]"],
        "route[0].filters[0].mirror.fraction",
        "not above",
    ),
    (
        "",
        &[ROUTE_TO, "filters = [{ mirror = { backend = \"http://a\", percent = 101 } }]"],
        "route[0].filters[0].mirror.percent",
        "to 100",
    ),
    (
        "",
        &[
            ROUTE_TO,
            "filters = [{ mirror = { backend = \"http://a\", percent = 1, fraction = [1, 2] } }]",
        ],
        "route[0].filters[0].mirror.percent",
        "also by fraction",
    ),
    // Ends.
    ("", &["[[route]]\nbackend = \"http://a/x\""], "route[0].backend", "without a path"),
    (
        "",
        &["[[route]]\nrespond = { status = 204, body = \"x\" }"],
        "route[0].respond.body",
        "must be empty",
    ),
    ("", &["[[route]]\npage = \"x\""], "route[0].page", "a path"),
    (
        "",
        &[ROUTE_TO, "timeouts = { request = \"1s\", backend_request = \"2s\" }"],
        "route[0].timeouts.backend_request",
        "must not exceed request",
    ),
    (
        FEED,
        &["[[route]]\nupstream = \"feed\"\nchannels = [\"a\", \"b\"]"],
        "route[0].channels",
        "does not merge",
    ),
    (
        FEED,
        &["multiplex = true\nchannels_per_client_max = 1\n[[route]]\n\
             upstream = \"feed\"\nchannels = [\"a\", \"b\"]"],
        "route[0].channels",
        "channels_per_client_max, 1",
    ),
    (
        "",
        &[UP, "url = \"http://a\"\n[[route]]\nupstream = \"up\"\nchannels = [\"a\"]"],
        "route[0].channels",
        "needs {channel}",
    ),
    (
        "",
        &[UP, "url = \"http://a{rest}\"\n[[route]]\nupstream = \"up\"\npath = { exact = \"/a\" }"],
        "route[0].upstream",
        "{rest}",
    ),
    (
        "",
        &[UP, "url = \"http://a/{path.x}\"\n[[route]]\nupstream = \"up\"\npath = \"/a\""],
        "route[0].upstream",
        "{path.x}",
    ),
    (
        "",
        &[
            UP,
            "url = \"http://a/{path.x}\"\n[[route]]\nupstream = \"up\"\n\
             path = { regex = \"/(?<y>.*)\" }",
        ],
        "route[0].upstream",
        "{path.x}",
    ),
    (
        "",
        &[
            UP,
            "url = \"http://a/{path.2}\"\n[[route]]\nupstream = \"up\"\n\
             path = { regex = \"/(.*)\" }",
        ],
        "route[0].upstream",
        "{path.2}",
    ),
];
