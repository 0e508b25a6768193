//! Which rule serves a request, and what its filters do, as the Gateway API says.
