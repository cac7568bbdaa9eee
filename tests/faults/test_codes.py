"""Every failure that a user can meet, and the test that produces it by its cause."""

from __future__ import annotations

import ast
import base64
import io
import re
import wave
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from modelhub.errors import FAILURES
from modelhub.web.current import registry_of
from tests.support.ids import SPEECH
from tests.support.invariants import check_invariants
from tests.support.server import Server

TESTS = Path(__file__).parents[1]
_HERE = "faults/test_codes.py"
_ACCESS = "web/test_access.py"
_NODES = "cluster/test_nodes.py"
_ERRORS = "web/test_error_handlers.py"
_WEB = "web/test_web_process.py"
_UNLOADABLE = "core/test_catalogue.py::test_what_cannot_be_loaded_is_listed_with_what_to_do"
PRODUCED_BY = {
    # The request
    "invalid_id": f"{_ERRORS}::test_failures_of_the_api_have_one_shape",
    "invalid_request": f"{_ERRORS}::test_a_request_that_is_not_valid_is_refused_with_the_reason",
    "some_refused": "web/pages/test_models.py::test_a_script_gets_an_error_for_each_bad_id",
    "form_expired": f"{_ERRORS}::test_a_script_gets_failures_as_json",
    "unknown_model": f"{_ERRORS}::test_failures_of_the_api_have_one_shape",
    "unknown_load": f"{_ERRORS}::test_failures_of_the_api_have_one_shape",
    "no_other_node": "web/test_api.py::test_without_a_cluster_a_model_has_one_copy",
    "unknown_replica": "core/test_replicas.py::test_a_copy_is_ended_by_its_node_also_the_first_one",
    "unknown_node": "core/test_machines.py::test_a_node_is_drained_once_its_load_and_requests_have_ended",
    "unauthorized": f"{_ACCESS}::test_without_a_token_every_route_but_the_public_ones_is_refused",
    "forbidden": f"{_ACCESS}::test_with_the_view_token_one_can_watch_and_change_nothing",
    "too_many_requests": f"{_ACCESS}::test_after_ten_wrong_tokens_no_more_are_looked_at",
    "unknown_host": "web/test_gate.py::test_a_name_that_merely_resolves_to_this_machine_is_refused",
    "cross_site": "web/test_gate.py::test_another_origin_is_refused",
    "not_found": f"{_ERRORS}::test_failures_of_the_api_have_one_shape",
    "method_not_allowed": f"{_ERRORS}::test_failures_of_the_api_have_one_shape",
    "wrong_state": f"{_ERRORS}::test_failures_of_the_api_have_one_shape",
    "too_large": "web/test_api.py::test_a_body_that_is_too_large_is_refused_while_it_is_sent",
    "in_use": "browser/test_access.py::test_a_model_is_loaded_without_javascript",
    "queue_full": "core/test_load_queue.py::test_a_full_queue_refuses_a_load",
    "quarantined": "faults/test_quarantine.py"
    "::test_programs_are_refused_with_the_reason_until_a_person_presses_load",
    "shutting_down": "faults/test_stop.py::test_a_server_in_full_use_ends_in_time_and_says_so_to_everybody",
    "own_folder": "core/test_deletion.py::test_the_own_folder_needs_a_word_more",
    "no_files": "core/test_deletion.py::test_a_demo_is_deleted_and_can_be_made_again",
    "cannot_delete": "core/test_deletion.py::test_what_lies_behind_a_link_is_not_deleted",
    "internal": f"{_HERE}::test_a_fault_of_modelhub_itself_is_internal",
    # The model's files
    "no_config": _UNLOADABLE,
    "bad_config": "loader/files/test_inspection.py::test_settings_that_are_not_valid",
    "missing_weights": _UNLOADABLE,
    "missing_shard": _UNLOADABLE,
    "lfs_pointer": _UNLOADABLE,
    "adapter": _UNLOADABLE,
    "gguf": _UNLOADABLE,
    "diffusers": _UNLOADABLE,
    "bad_name": "web/test_unloadable.py::test_it_is_listed_and_refused_at_once",
    "corrupt": "loader/files/test_remote.py::test_a_wrong_checksum_is_detected_and_the_file_deleted",
    "corrupt_own": "cli/test_here.py::test_good_models_are_loaded_and_unloaded_and_a_broken_one_is_reported",
    "too_costly": "workers/confinement/test_guard.py::test_a_step_that_computes_for_too_long_is_ended",
    "files_gone": "faults/test_files.py::test_a_folder_that_is_deleted_at_any_moment",
    "no_permission": "faults/test_files.py::test_what_may_not_be_read_is_named",
    "refused": "loader/files/test_inspection.py::test_a_link_is_refused",
    "unsupported": "loader/test_load.py::test_an_unknown_architecture",
    "needs_package": "inference/test_tasks.py::test_a_table_needs_a_package_that_the_message_names",
    "bad_tokenizer": "loader/test_load.py::test_a_broken_tokenizer",
    "incomplete_weights": "loader/test_load.py::test_a_missing_tensor_is_a_failure",
    "forward_failed": "loader/test_load.py::test_a_forward_pass_that_fails_is_a_failed_load",
    # The hub
    "hub_unreachable": "core/test_preview.py::test_offline_is_reported_at_once",
    "gated": "loader/files/test_remote.py::test_a_gated_model",
    "hub_error": "loader/files/test_remote.py::test_a_hub_with_an_error",
    "rate_limited": "faults/test_hub.py::test_who_is_asked_to_wait_for_long_learns_when_to_come_back",
    "cache_read_only": "faults/test_files.py::test_a_cache_that_may_not_be_written_to",
    "disk_full": "loader/files/test_remote.py::test_a_full_disk_fails_before_the_first_byte_is_fetched",
    # The machine
    "no_memory": "core/test_lifecycle.py::test_a_model_that_does_not_fit_is_refused_with_the_numbers",
    "out_of_memory": "faults/test_processes.py"
    "::test_a_load_that_the_system_ends_for_want_of_memory_says_so_with_the_numbers",
    "no_node": "core/test_machines.py::test_without_a_node_a_load_says_so_but_what_nobody_watches_waits",
    "no_device": "loader/test_load.py::test_a_missing_device",
    "killed": "core/test_lifecycle.py::test_a_worker_that_is_killed_is_emitted_as_a_failure_within_a_second",
    "crashed": "workers/test_launcher.py::test_the_error_of_a_process_that_has_ended_has_the_cause",
    "file_changed": "faults/test_processes.py::test_a_file_that_is_cut_under_its_mapping_is_said_so",
    "node_lost": f"{_NODES}::test_a_node_that_dies_in_the_middle_of_a_load_is_lost_within_two_seconds",
    "versions_differ": f"{_NODES}::test_a_node_with_another_modelhub_is_refused_in_words",
    "node_unusable": f"{_NODES}::test_a_node_with_another_modelhub_is_refused_in_words",
    "worker_unavailable": "faults/test_processes.py"
    "::test_where_no_process_can_be_started_a_load_fails_and_the_models_go_on",
    "interrupted": "core/test_lifecycle.py::test_what_was_loading_when_the_server_died_is_interrupted",
    # Predictions
    "bad_inputs": "inference/test_pipelines.py::test_inputs_that_cannot_be_used",
    "prediction_failed": f"{_HERE}::test_a_prediction_that_fails_in_the_model_says_so",
    "prediction_timeout": "web/test_predictions.py"
    "::test_a_prediction_that_takes_too_long_is_ended_and_the_model_goes_on",
    "unknown_prediction": "web/test_api.py::test_a_prediction_that_is_not_under_way_cannot_be_stopped",
    "too_busy": "web/test_predictions.py::test_a_process_that_ends_no_prediction_is_ended",
    # The start, the data folder and the command line
    "bad_setting": "test_config.py::test_an_invalid_value_is_refused_with_the_name_of_its_setting",
    "no_sandbox": "workers/confinement/test_guard.py::test_strict_is_refused_where_it_cannot_be_had",
    "token_missing": "test_hosts.py::test_any_other_address_needs_a_token_or_a_word",
    "already_running": "core/test_journal.py::test_one_server_per_data_folder",
    "port_taken": "test_server.py::test_a_second_server_on_a_port_stops_and_names_the_first",
    "newer_journal": "core/test_journal.py::test_a_journal_of_a_newer_modelhub_is_left_alone",
    "journal_unavailable": "faults/test_data_folder.py"
    "::test_a_server_starts_while_another_program_has_locked_the_journal",
    # Web processes
    "hub_away": f"{_WEB}::test_a_hub_that_dies_is_said_in_words_and_its_loads_end_by_themselves",
    "not_live": f"{_WEB}::test_a_hub_that_dies_is_said_in_words_and_its_loads_end_by_themselves",
    "other_tokens": f"{_WEB}::test_a_web_process_without_the_tokens_of_its_hub_shows_nothing",
    "insecure": f"{_ACCESS}::test_a_server_without_a_token_says_so_everywhere",
    "journal_set_aside": "faults/test_data_folder.py"
    "::test_a_journal_that_is_damaged_while_the_server_runs_is_set_aside_and_a_new_one_begun",
    "redis_away": "web/test_follower.py::test_where_redis_stays_away_the_hub_says_so_and_goes_on",
    "stale_hub": "web/test_follower.py::test_a_hub_that_was_replaced_stops_and_says_so",
    "server_unreachable": "cli/test_preload.py::test_no_server_is_an_error_with_a_hint",
}
_NOT_PRODUCED = {
    "device_out_of_memory": "it takes a GPU; that the error of torch becomes it is tested",
    "load_failed": "it stands for what has no code of its own: a cause that is known gets one",
}


def test_a_fault_of_modelhub_itself_is_internal(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setitem(app.config, "PROPAGATE_EXCEPTIONS", False)
    monkeypatch.setattr(registry_of(app), "budget", fail)
    response = client.get("/api/memory")
    assert response.json is not None
    assert (response.status_code, response.json["error"]["code"]) == (500, "internal")
    assert "ZeroDivisionError" not in response.text


def test_a_prediction_that_fails_in_the_model_says_so(empty_server: Server) -> None:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(4))  # too short for the first layer
    empty_server.load(SPEECH)
    inputs = "data:audio/wav;base64," + base64.b64encode(buffer.getvalue()).decode()
    response = empty_server.post("/api/predictions", {"model": SPEECH, "inputs": inputs})
    assert (response.status_code, response.json()["error"]["code"]) == (500, "prediction_failed")
    check_invariants(empty_server)


def test_every_failure_has_a_test_that_produces_it() -> None:
    assert set(PRODUCED_BY) | set(_NOT_PRODUCED) == set(FAILURES)
    for code, node in PRODUCED_BY.items():
        path, _, name = node.partition("::")
        source = (TESTS / path).read_text()
        functions = [
            n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef) and n.name == name
        ]
        assert functions, f"{node} is gone: which test produces {code} now?"
        first = functions[0].decorator_list[0].lineno if functions[0].decorator_list else functions[0].lineno
        lines = source.splitlines()[first - 1 : functions[0].end_lineno]
        words = max(re.split(r"\{\w+\}", FAILURES[code].message), key=len).strip()
        assert any(f'"{code}"' in line or (len(words) > 10 and words in line) for line in lines), (
            f"{node}: {code}"
        )
