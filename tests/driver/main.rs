//! The driver contract: one text, read to every driver that a kernel can run.
//!
//! io_uring is skipped, loudly and by name, where no ring is to be had.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "deadlines, environment and threads of the tests")]
#![allow(clippy::cast_possible_truncation, reason = "small numbers of the tests' own making")]

mod accepts;
mod connects;
mod receive_ahead;
mod sends;
mod stage;
mod turns;
mod wakes;
mod watches;

/// Reads every test of the list to every driver.
macro_rules! contract {
    ($($area:ident :: $test:ident),* $(,)?) => {
        mod uring {
            $(#[test]
            fn $test() {
                crate::stage::uring(stringify!($test), crate::$area::$test);
            })*
        }
        mod eager {
            $(#[test]
            fn $test() {
                crate::stage::eager(stringify!($test), crate::$area::$test);
            })*
        }
        mod epoll {
            $(#[test]
            fn $test() {
                crate::stage::epoll(stringify!($test), crate::$area::$test);
            })*
        }
    };
}

contract!(
    sends::silence_is_success,
    sends::every_byte_of_a_short_is_accounted_for,
    sends::a_short_hides_behind_nothing,
    sends::a_peer_that_has_gone_is_an_errno,
    sends::a_stalled_peer_costs_little,
    sends::finish_lets_everything_arrive,
    sends::the_self_test_passes,
    receive_ahead::pieces_keep_their_order,
    receive_ahead::what_nobody_asks_for_stays_with_the_peer,
    receive_ahead::an_end_waits_for_its_turn,
    receive_ahead::a_peer_that_fails_is_an_errno,
    receive_ahead::an_end_right_behind_the_last_bytes_is_told,
    receive_ahead::a_read_before_any_turn_keeps_the_order,
    receive_ahead::a_change_of_mind_loses_nothing,
    receive_ahead::an_idle_connection_knows_what_has_come,
    receive_ahead::thousands_share_what_there_is,
    receive_ahead::a_close_gives_everything_back,
    turns::a_turn_sends_before_it_sleeps,
    turns::a_short_ends_the_sleep,
    turns::a_turn_sends_more_than_a_queue_holds,
    turns::a_short_in_a_turn_hides_behind_nothing,
    watches::hangup_sleeps_through_data,
    watches::hangup_hears_a_reset,
    watches::an_interest_answers_once,
    watches::interests_of_one_socket_are_apart,
    watches::the_last_token_is_reported,
    watches::a_closed_socket_is_silent,
    watches::close_ends_the_connection_in_spite_of_watches,
    watches::unread_input_does_not_reset,
    watches::a_reset_throws_away_what_was_not_taken,
    watches::recv_tells_all_cases_apart,
    watches::a_large_body_flows,
    accepts::a_pause_keeps_connections_waiting,
    accepts::exhaustion_pauses_and_passes,
    accepts::a_close_frees_the_descriptor,
    accepts::a_stopped_listener_refuses,
    accepts::two_listeners_share_a_port,
    accepts::each_connection_names_its_listener,
    accepts::exhaustion_of_several_listeners_is_told_once,
    connects::a_connect_ends_with_a_connection,
    connects::a_refused_connect_is_an_errno,
    connects::a_connect_under_way_is_told_from_one_that_has_ended,
    connects::a_connect_under_way_can_be_closed,
    connects::a_unix_socket_keeps_the_contract,
    connects::a_unix_peer_that_has_gone_is_an_errno,
    connects::a_unix_socket_is_closed_without_a_reset,
    connects::a_stalled_backend_costs_little,
    connects::a_reset_reaches_the_backend,
    connects::acknowledgements_can_wait,
    wakes::a_wake_ends_a_sleep,
    wakes::wakes_coalesce,
    wakes::a_wait_ends,
    wakes::no_wake_is_lost,
);
