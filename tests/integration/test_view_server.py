"""The view's server against strangers: other pages, other methods, links, code, damaged records, a port in use."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import threading
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from commands import command, environment, harness, one_sentence
from report_runs import towns, varied, write_run

from harness.data.limits import reading_within
from harness.runs.directory import pack_records
from results.view import server
from results.view.folder import LiveFolder
from results.view.server import ViewServer


@contextmanager
def served(root):
    """A folder with its server, whose two threads are turned by hand: `turn`."""
    folder = LiveFolder(root)

    def turn():
        folder.find_runs()
        while folder.read_round():
            pass
        folder.think_round()

    with ViewServer(folder, 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield SimpleNamespace(port=server.server_port, token=server.token, turn=turn)
        finally:
            server.shutdown()
            thread.join()


def ask(view, path, method="GET", **headers):
    """Status, headers and text of one answer, behind the token."""
    return ask_anyhow(view, f"/{view.token}{path}", method, **headers)


def ask_anyhow(view, path, method="GET", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", view.port, timeout=10)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    found = answer.status, answer.headers, answer.read().decode()
    connection.close()
    return found


def told(view, path):
    return json.loads(ask(view, path)[2])


def read_rows(view, run=0):
    """The run's rows, once it is the one that is looked at and has been read."""
    ask(view, f"/episodes?run={run}&from=0")
    view.turn()
    return told(view, f"/episodes?run={run}&from=0")["rows"]


@pytest.fixture
def run(tmp_path):
    data = towns(tmp_path / "data")
    return write_run(tmp_path / "runs" / "one", data, varied(data))


@pytest.fixture
def playing(run):
    """The same run while it is played."""
    (run / "summary.json").unlink()
    return run


def test_a_finished_run_is_told_by_its_summary_and_read_when_it_is_asked_for(run):
    with served(run.parent) as view:
        (line,) = told(view, "/runs")["runs"]
        assert (line["name"], line["done"], line["planned"], line["finished"]) == ("one", 6, 6, True)
        view.turn()
        assert told(view, "/episodes?run=0&from=0") == {"generation": 0, "read": 0, "rows": []}
        assert [row[1] for row in read_rows(view)] == [f"town-{n}" for n in range(6)]
        assert told(view, "/episodes?run=0&from=4")["read"] == 6
        assert len(told(view, "/episodes?run=0&from=4")["rows"]) == 2


def test_a_transcript_has_gold_cause_and_verdicts(run):
    with served(run) as view:
        assert read_rows(view)
        full = told(view, "/transcript?run=0&episode=1")
        assert full["cause"] == {"key": "stopped_early", "label": "stopped early"}
        assert full["gold"] == "998" and not full["waits"]
        assert [call["strict"] for message in full["messages"] for call in message["calls"]] == [0]


def test_only_its_own_name_is_answered(run):
    with served(run) as view:
        for host in ("evil.example", f"evil.example:{view.port}", "127.0.0.1", "127.0.0.1:1", ""):
            status, _, said = ask(view, "/runs", Host=host)
            assert (status, said) == (403, "This server answers to its own address only."), host
        assert ask(view, "/runs", Host=f"localhost:{view.port}")[0] == 200
        connection = http.client.HTTPConnection("127.0.0.1", view.port, timeout=10)
        connection.putrequest("GET", f"/{view.token}/runs", skip_host=True)
        for name in ("evil.example", f"127.0.0.1:{view.port}"):
            connection.putheader("Host", name)
        connection.endheaders()
        assert connection.getresponse().status == 403
        connection.close()


def test_nothing_is_told_without_the_token(run):
    with served(run) as view:
        assert ask(view, "/")[0] == 200
        changed = view.token[:-1] + ("0" if view.token[-1] != "0" else "1")
        for before in (
            "",
            "/",
            f"/{changed}",
            f"/{view.token[:-1]}",
            f"/{view.token}0",
            f"/{changed}/{view.token}",
            "/%C3",
        ):
            for path in ("/", "/runs", "/episodes?run=0&from=0", f"/runs?{view.token}"):
                status, headers, said = ask_anyhow(view, before + path)
                assert (status, said) == (403, "Open the whole address that `harness view` printed."), before + path
                assert "Location" not in headers and "Set-Cookie" not in headers
        assert view.token not in "".join(map(str, [ask_anyhow(view, "/")[1], ask(view, "/runs")[1]]))
        assert ask_anyhow(view, f"/{view.token}")[0] == 404
        with served(run) as other:
            assert other.token != view.token and ask_anyhow(other, f"/{view.token}/runs")[0] == 403


def test_only_get_is_answered(run):
    with served(run) as view:
        for method in ("HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"):
            status, headers, said = ask(view, "/runs", method)
            assert (status, headers["Allow"]) == (405, "GET")
            assert said == ("" if method == "HEAD" else "Only GET is answered.")


def test_no_path_of_the_disk_can_be_asked_for(run):
    with served(run) as view:
        assert read_rows(view)
        for path in (
            "/manifest.json",
            "/../../etc/passwd",
            "/%2e%2e/%2e%2e/etc/passwd",
            "/episodes",
            "/episodes?run=-1&from=0",
            "/episodes?run=0&from=x",
            "/episodes?run=9&from=0",
            "/transcript?run=0&episode=-1",
            "/transcript?run=0&episode=99",
            "/transcript?run=../one&episode=0",
            "/transcript?run=0&episode=%D9%A3",
        ):
            assert ask(view, path)[::2] == (404, "There is no such thing here."), path


def test_every_answer_has_the_policy(run):
    with served(run) as view:
        for path in ("/", "/runs", "/nothing"):
            headers = ask(view, path)[1]
            policy = headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none'; style-src 'sha256-") and "unsafe" not in policy
            assert "connect-src 'self'" in policy and "frame-ancestors 'none'" in policy
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
            assert headers["Access-Control-Allow-Origin"] is None


def test_links_out_of_the_folder_are_not_followed(playing, tmp_path):
    root = tmp_path / "shown"
    for name in ("manifest.json", "samples.jsonl"):
        linked = root / name.partition(".")[0]
        linked.mkdir(parents=True)
        for file in playing.iterdir():
            (linked / file.name).write_bytes(file.read_bytes())
        (linked / name).unlink()
        (linked / name).symlink_to(playing / name)
    (root / "whole").symlink_to(playing)
    with served(root) as view:
        view.turn()
        runs = told(view, "/runs")["runs"]
        assert sorted(line["name"] for line in runs) == ["manifest", "samples"]
        for line in runs:
            assert line["problem"].endswith(f"leads out of {root.resolve()}: it is not followed.")
            assert read_rows(view, line["number"]) == []


def test_a_link_that_comes_later_is_not_followed_either(playing, tmp_path):
    secret = tmp_path / "secret"
    samples = playing / "samples.jsonl"
    with served(playing) as view:
        assert len(read_rows(view)) == 6
        samples.rename(secret)
        samples.symlink_to(secret)
        status, _, said = ask(view, "/transcript?run=0&episode=0")
        assert status == 409 and "is not followed" in said


def change_manifest(run, change):
    manifest = json.loads((run / "manifest.json").read_text())
    change(manifest)
    (run / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("named", ["{}/tasks.py", "demo_*,{}/tasks.py"])
def test_nothing_that_a_run_names_is_run(run, tmp_path, named):
    (tmp_path / "tasks.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    change_manifest(run, lambda manifest: manifest["sources"].update(tasks=[named.format(tmp_path)]))
    with served(run) as view:
        assert read_rows(view)
        full = told(view, "/transcript?run=0&episode=1")
        assert full["notes"] == ["Without gold: its tasks are a Python file, which a view does not run."]
        assert full["gold"] is None
    assert not (tmp_path / "ran").exists()


def test_what_is_no_file_is_not_waited_for(run, tmp_path):
    os.mkfifo(tmp_path / "pipe.jsonl")
    change_manifest(run, lambda manifest: manifest["sources"].update(tasks=[str(tmp_path / "pipe.jsonl")]))
    with served(run) as view:
        assert read_rows(view)
        assert told(view, "/transcript?run=0&episode=1")["notes"] == [
            f"Without gold: {tmp_path / 'pipe.jsonl'} is no file."
        ]
    (run / "summary.json").unlink()
    (run / "samples.jsonl").unlink()
    os.mkfifo(run / "samples.jsonl")
    with served(run) as view:
        view.turn()
        assert told(view, "/runs")["runs"][0]["problem"].endswith("samples.jsonl is no file of " + str(run) + ".")


def test_a_damaged_line_is_one_sentence_until_it_is_mended(playing):
    samples = playing / "samples.jsonl"
    lines = samples.read_text().splitlines(keepends=True)
    with served(playing.parent) as view:
        samples.write_text("".join([*lines[:2], '{"key": 1}\n', *lines[2:]]))
        assert len(read_rows(view)) == 2
        problem = told(view, "/runs")["runs"][0]["problem"]
        assert problem.startswith(f"{samples}, line 3 is no episode record of this run: ") and problem.count("\n") == 0
        mended = samples.with_name("mended")
        mended.write_text("".join(lines))
        mended.replace(samples)
        assert len(read_rows(view)) == 6
        after = told(view, "/episodes?run=0&from=0")
        assert after["generation"] == 1
        assert told(view, "/runs")["runs"][0]["problem"] == ""


def test_a_line_beyond_the_limit_is_one_sentence(playing):
    samples = playing / "samples.jsonl"
    longest = max(map(len, samples.read_bytes().splitlines(keepends=True)))
    with reading_within({"line": longest}), served(playing) as view:
        assert len(read_rows(view)) == 6
        with samples.open("ab") as file:
            file.write(b" " * longest + b"{}\n")
        view.turn()
        (line,) = told(view, "/runs")["runs"]
        assert line["problem"].startswith(f"{samples}, line 7 is longer than {longest:,} bytes; --read-limit line=N")


def test_a_run_grows_and_a_torn_line_waits_for_its_end(playing):
    samples = playing / "samples.jsonl"
    content = samples.read_text()
    cut = content.index("\n", len(content) // 2) + 9
    samples.write_text(content[:cut])
    with served(playing.parent) as view:
        before = len(read_rows(view))
        assert before == content[:cut].count("\n") < 6
        with samples.open("a") as file:
            file.write(content[cut:])
        assert len(read_rows(view)) == 6
        (line,) = told(view, "/runs")["runs"]
        assert (line["done"], line["failed"], line["finished"]) == (6, 1, False)
        assert line["scores"][0][:2] == ["towns", "F1"]


def test_a_run_that_begins_later_is_found(run, tmp_path):
    with served(run.parent) as view:
        data = towns(tmp_path / "data")
        write_run(run.parent / "two", data, varied(data), "test/other")
        view.turn()
        assert {line["model"] for line in told(view, "/runs")["runs"]} == {"test/model", "test/other"}


def test_a_damaged_manifest_is_a_sentence_beside_the_others(run):
    (run.parent / "two").mkdir()
    (run.parent / "two" / "manifest.json").write_text("{")
    (run.parent / "two" / "samples.jsonl").touch()
    with served(run.parent) as view:
        lines = {line["name"]: line for line in told(view, "/runs")["runs"]}
        assert lines["one"]["problem"] == "" and lines["one"]["done"] == 6
        assert "manifest.json cannot be read" in lines["two"]["problem"]


@pytest.mark.parametrize("seen_before", [True, False])
def test_a_run_that_lost_its_episodes_is_a_sentence_beside_the_others(run, tmp_path, seen_before):
    data = towns(tmp_path / "data")
    lost = write_run(run.parent / "two", data, varied(data)) / "samples.jsonl"
    kept = lost.rename(tmp_path / "kept") if not seen_before else None
    with served(run.parent) as view:
        if seen_before:
            assert [line["problem"] for line in told(view, "/runs")["runs"]] == ["", ""]
            kept = lost.rename(tmp_path / "kept")
        found = {line["name"]: line["problem"] for line in told(view, "/runs")["runs"]}
        assert found["one"] == "" and "is cut: it has a summary but no episodes" in found["two"]
        kept.rename(lost)
        view.turn()
        assert [line["problem"] for line in told(view, "/runs")["runs"]] == ["", ""]


@pytest.mark.parametrize("ended", [True, False])
def test_a_packed_run_is_shown(run, ended):
    if not ended:
        (run / "summary.json").unlink()
    samples = run / "samples.jsonl"
    content = samples.read_bytes()
    with served(run.parent) as view:
        before = read_rows(view)
        (run / "samples.jsonl.xz").write_bytes(pack_records(content))
        samples.unlink()
        assert read_rows(view) == before and len(before) == 6
        assert told(view, "/transcript?run=0&episode=1")["gold"] == "998"
        (run / "samples.jsonl.xz").write_bytes(pack_records(content)[:-20])
        read_rows(view)
        assert "samples.jsonl.xz cannot be decompressed" in told(view, "/runs")["runs"][0]["problem"]


def test_data_at_a_path_that_is_too_long_is_gold_that_is_not_found(run, tmp_path):
    change_manifest(run, lambda manifest: manifest["sources"].update(tasks=[f"{tmp_path}/{'a' * 300}.jsonl"]))
    with served(run) as view:
        assert len(read_rows(view)) == 6
        assert told(view, "/runs")["runs"][0]["problem"] == ""
        (note,) = told(view, "/transcript?run=0&episode=1")["notes"]
        assert note.startswith("Without gold: ") and "File name too long" in note


def test_it_listens_on_this_machine_only_and_ends_with_ctrl_c(run):
    words = command("view", run.parent)
    with subprocess.Popen(
        words, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        address = process.stdout.readline().strip()
        found = re.fullmatch("http://127.0.0.1:([0-9]+)/[0-9a-f]{32}/", address)
        assert found, address
        port = int(found[1])
        for other in ("127.0.0.2", "::1"):
            with pytest.raises(OSError, match=r"refused|unreachable|assign|family"):
                socket.create_connection((other, port), timeout=5).close()
        taken = one_sentence(harness("view", run.parent, "--port", port))
        assert taken == (
            f"harness view: Port {port} of 127.0.0.1 cannot be had: Address already in use; name another with --port.\n"
        )
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
    assert process.returncode == 0
    assert (out, err) == ("", f"1 run in {run.parent}, followed until Ctrl-C.\n")


def test_what_cannot_be_shown_is_one_sentence(tmp_path):
    assert one_sentence(harness("view", tmp_path / "none")) == f"harness view: {tmp_path / 'none'} is no folder.\n"


@pytest.mark.parametrize("port", ["-1", "65536", "٣", "http"])
def test_a_port_is_a_number(port, tmp_path, capsys):
    from harness.cli import main

    with pytest.raises(SystemExit, match="2"):
        main(["view", str(tmp_path), f"--port={port}"])
    assert f"{port!r} is no port: 0 to 65535" in capsys.readouterr().err


def test_connections_are_bounded_and_a_place_is_free_again(tmp_path, monkeypatch):
    """Whoever opens many and says nothing takes no more threads than there are places."""
    monkeypatch.setattr(server, "CONNECTIONS", 3)
    with served(tmp_path) as view:
        silent = [socket.create_connection(("127.0.0.1", view.port), timeout=10) for _ in range(3)]
        with socket.create_connection(("127.0.0.1", view.port), timeout=10) as refused:
            assert refused.recv(1) == b""
        silent.pop().close()
        while True:  # until its thread has seen that it is closed
            try:
                assert ask(view, "/runs")[0] == 200
                break
            except (http.client.HTTPException, ConnectionError):
                pass
        for one in silent:
            one.close()


def test_a_thread_that_does_not_begin_leaves_its_place_free(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "CONNECTIONS", 1)
    with served(tmp_path) as view:
        with monkeypatch.context() as patched:
            patched.setattr(server.ThreadingHTTPServer, "process_request", refuse_to_begin)
            with socket.create_connection(("127.0.0.1", view.port), timeout=10) as refused:
                assert refused.recv(1) == b""
        assert ask(view, "/runs")[0] == 200


def refuse_to_begin(*given):
    raise RuntimeError("can't start new thread")
