"""What other pages and programs can reach of a running `make dev`, and how it lives and ends."""

import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote

import dagster as dg
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from harmony_pipelines.demo.__main__ import demo_server
from harmony_pipelines.demo.home import DemoHome
from harmony_pipelines_tests.lifecycle.browser import CHROMIUM, browser
from harmony_pipelines_tests.lifecycle.dev_process import (
    LOCATION,
    Dev,
    begin_dev,
    dev,
    nobodys_environment,
    wait_until,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

_LAUNCH = (
    "mutation { launchRun(executionParams: {selector: {repositoryLocationName: "
    f'"{LOCATION}", repositoryName: "__repository__", jobName: "refresh_catalogue"}}, '
    "runConfigData: {}}) { __typename } }"
)
_LOGS = "subscription($id: ID!) { pipelineRunLogs(runId: $id) { __typename } }"
_STARTS = "harmony_pipelines.web.server", "dagster._daemon run", "code-server start", "api grpc"
_ATTACK = """
const target = %(target)s, query = %(query)s;
const graphql = target + '/graphql?query=' + encodeURIComponent(query);
const report = target + '/report_asset_materialization/spotify_albums';
const plain = {method: 'POST', mode: 'no-cors', body: JSON.stringify({query})};
const tried = [];
new Image().src = graphql;
for (const url of [graphql, report]) {
  tried.push(fetch(url, {mode: 'no-cors'}), fetch(url, plain));
  const frame = document.createElement('iframe');
  frame.name = 'f' + Math.random();
  document.body.append(frame);
  for (const encoding of ['text/plain', 'application/x-www-form-urlencoded']) {
    const form = document.createElement('form');
    Object.assign(form, {method: 'POST', action: url, target: frame.name, enctype: encoding});
    const field = document.createElement('input');
    Object.assign(field, {name: 'query', value: query});
    form.append(field);
    document.body.append(form);
    form.submit();
  }
  const shown = document.createElement('iframe');
  shown.src = url;
  document.body.append(shown);
}
tried.push(new Promise(done => {
  const socket = new WebSocket(target.replace('http', 'ws') + '/graphql', 'graphql-ws');
  socket.onopen = () => done('websocket opened');
  socket.onerror = () => done('websocket refused');
}));
Promise.allSettled(tried).then(all => all.at(-1).value)
"""

_FOREIGN = ("Origin: http://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site")
_OTHER_NAMES = (
    "",
    "127.0.0.1",
    "127.0.0.1.:{port}",
    "localhost.:{port}",
    "evil.example:{port}",
    "localhost.evil.example:{port}",
    "localhost:{port}@evil.example",
    "2130706433:{port}",
    "0.0.0.0:{port}",
    "[::ffff:127.0.0.1]:{port}",
    "[::]:{port}",
)
_UPGRADE = (
    "Connection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\nSec-WebSocket-Protocol: graphql-ws\n\n"
)


def _posted(kind: str, body: str) -> str:
    return f"Content-Type: {kind}\nContent-Length: {len(body)}\n\n{body}"


_QUERY = json.dumps({"query": _LAUNCH})
_PART = "Content-Disposition: form-data; name="
_BODIES = (
    _posted("application/json", _QUERY),
    _posted("application/json", f"[{_QUERY}, {_QUERY}]"),
    _posted("text/plain", _QUERY),
    _posted("application/graphql", _LAUNCH),
    _posted("application/x-www-form-urlencoded", f"query={quote(_LAUNCH)}"),
    _posted(
        "multipart/form-data; boundary=b",
        f'--b\r\n{_PART}"operations"\r\n\r\n{_QUERY}\r\n--b\r\n{_PART}"map"\r\n\r\n{{}}\r\n--b--',
    ),
)


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoHome]:
    yield DemoHome(tmp_path_factory.mktemp("user"))


@pytest.fixture(scope="module")
def ui(user: DemoHome) -> Iterator[Dev]:
    """The UI of a user whose Spotify is slow."""
    with demo_server(user) as server:
        server.latency_s = 0.15
        with dev(user.environment(server)) as begun:
            yield begun


def _raw(ui: Dev, request: str) -> tuple[int, str]:
    with socket.create_connection(("127.0.0.1", ui.port), timeout=20) as connection:
        connection.sendall(request.replace("\n", "\r\n").encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            received = connection.recv(65536)
            if not received:
                break
            answer += received
    head = answer.decode("latin-1")
    return int(head.split()[1]), head


@pytest.mark.parametrize(
    "request_text",
    [
        "GET /graphql?query={mutation} HTTP/1.1\nHost: {host}\n\n",
        "GET http://{host}/graphql?query={mutation} HTTP/1.1\nHost: {host}\n\n",
        "GET http://{host}/ HTTP/1.1\nHost: evil.example\n\n",
        "GET /graphql?query={mutation} HTTP/1.1\nHost: {host}\nAccept: text/html\n\n",
        "GET / HTTP/1.1\nHost: evil.example\n\n",
        "GET / HTTP/1.1\nHost: {host}\nHost: evil.example\n\n",
        "GET / HTTP/1.0\n\n",
        "GET /server_info HTTP/1.1\nHost: {host}\nOrigin: null\n\n",
        "GET /logs/x/y/err HTTP/1.1\nHost: {host}\nOrigin: http://evil.example\n\n",
        "GET /download_debug/x HTTP/1.1\nHost: {host}\nSec-Fetch-Site: cross-site\n\n",
        "POST /graphql?query={mutation} HTTP/1.1\nHost: {host}\nOrigin: http://evil.example\n"
        "Content-Length: 0\n\n",
        "POST /report_asset_materialization/spotify_albums HTTP/1.1\nHost: {host}\n"
        "Origin: http://evil.example\nContent-Length: 0\n\n",
        *(
            f"POST /graphql HTTP/1.1\nHost: {{host}}\n{whose}\n{body}"
            for whose in _FOREIGN
            for body in _BODIES
        ),
        *(f"GET / HTTP/1.1\nHost: {name}\n\n" for name in _OTHER_NAMES),
        *(
            f"GET /graphql HTTP/1.1\nHost: {name}\nOrigin: http://{name}\n{_UPGRADE}"
            for name in _OTHER_NAMES
        ),
        *(f"GET /graphql HTTP/1.1\nHost: {{host}}\n{whose}\n{_UPGRADE}" for whose in _FOREIGN),
        "GET http://evil.example/graphql?query={mutation} HTTP/1.1\nHost: {host}\n\n",
        "GET /graphql?query={typename}&query={mutation} HTTP/1.1\nHost: {host}\n\n",
        "GET /graphql/?%71uery={mutation} HTTP/1.1\nHost: {host}\n\n",
        "HEAD /graphql?query={mutation} HTTP/1.1\nHost: {host}\n\n",
    ],
)
def test_a_raw_request_of_another_host_or_page_or_a_change_by_get_is_refused(
    ui: Dev, request_text: str
) -> None:
    host = f"127.0.0.1:{ui.port}"
    filled = request_text.replace("{host}", host).replace("{mutation}", quote(_LAUNCH))
    filled = filled.replace("{typename}", "{__typename}").replace("{port}", str(ui.port))
    before = ui.runs()

    assert _raw(ui, filled)[0] in (400, 403)
    assert ui.runs() == before


@pytest.mark.parametrize("name", ["127.0.0.1", "LocalHost", "[::1]"])
def test_its_own_names_are_answered_in_any_case(ui: Dev, name: str) -> None:
    assert _raw(ui, f"GET /server_info HTTP/1.1\nHost: {name}:{ui.port}\n\n")[0] == 200


def test_a_websocket_shows_a_run_live_to_our_page_and_is_refused_to_another(ui: Dev) -> None:
    address = f"ws://127.0.0.1:{ui.port}/graphql"
    spoken = [Subprotocol("graphql-ws")]
    for foreign in ("http://evil.example", "null", f"http://127.0.0.1:{ui.port + 1}"):
        with pytest.raises(InvalidStatus) as caught:
            connect(address, origin=Origin(foreign), subprotocols=spoken)
        assert caught.value.response.status_code == 403

    run_id = ui.launch("refresh_catalogue")
    with connect(address, origin=Origin(ui.address), subprotocols=spoken) as connection:
        connection.send(json.dumps({"type": "connection_init"}))
        payload = {"query": _LOGS, "variables": {"id": run_id}}
        connection.send(json.dumps({"type": "start", "id": "1", "payload": payload}))
        kinds = [json.loads(connection.recv(timeout=30))["type"] for _ in range(3)]
    assert kinds == ["connection_ack", "data", "data"]
    wait_until(lambda: ui.runs()[run_id] == "SUCCESS", 90)


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_a_page_of_another_origin_starts_nothing_and_our_own_page_shows_runs_live(
    ui: Dev, tmp_path: Path
) -> None:
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "index.html").write_text("<!doctype html><body>evil</body>")
    handler = partial(_Quiet, directory=str(tmp_path / "page"))
    attack = _ATTACK % {"target": json.dumps(ui.address), "query": json.dumps(_LAUNCH)}
    before = ui.runs()
    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as foreign,
        browser(tmp_path / "profile") as page,
    ):
        threading.Thread(target=foreign.serve_forever, daemon=True).start()
        for name in ("127.0.0.1", "localhost"):
            page.open(f"http://{name}:{foreign.server_port}/")
            wait_until(lambda: page.text() == "evil", 30)
            assert page.run(attack) == "websocket refused"
            time.sleep(1)
        page.run(f"location = {json.dumps(f'{ui.address}/graphql?query={quote(_LAUNCH)}')}")
        wait_until(lambda: "change_by_get" in page.text(), 30)
        foreign.shutdown()
        assert ui.runs() == before
        assert not _materialised(ui, "spotify_albums", before)

        page.open(f"{ui.address}/runs")
        wait_until(lambda: "Runs" in page.text(), 60)
        run_id = ui.launch("refresh_catalogue")
        page.open(f"{ui.address}/runs/{run_id}")
        wait_until(lambda: "Run of" in page.text(), 60)
        assert "Success" not in page.text()
        wait_until(lambda: "Success" in page.text(), 90)


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_a_page_whose_name_was_turned_to_this_machine_reads_and_starts_nothing(
    ui: Dev, tmp_path: Path
) -> None:
    before = ui.runs()
    tried = f"""(async () => {{
        const query = {json.dumps(_LAUNCH)}, json = {{'Content-Type': 'application/json'}};
        const asked = ['/graphql', '/graphql?query={{__typename}}', '/server_info', '/runs'];
        const all = asked.map(path => fetch(path).then(answer => answer.status));
        const body = JSON.stringify({{query}});
        all.push(fetch('/graphql', {{method: 'POST', headers: json, body}}).then(a => a.status));
        all.push(new Promise(done => {{
            const socket = new WebSocket('ws://' + location.host + '/graphql', 'graphql-ws');
            socket.onopen = () => done('opened');
            socket.onerror = () => done('refused');
        }}));
        return (await Promise.all(all)).join(' ');
    }})()"""
    with browser(tmp_path / "profile", "--host-resolver-rules=MAP evil.test 127.0.0.1") as page:
        page.open(f"http://evil.test:{ui.port}/")
        wait_until(lambda: "host_not_allowed" in page.text(), 30)
        assert page.run("location.host") == f"evil.test:{ui.port}"
        assert page.run(tried) == "403 403 403 403 403 refused"
    assert ui.runs() == before


def _materialised(ui: Dev, asset: str, runs: dict[str, str]) -> list[str]:
    """Materialisations of an asset that no run of these made."""
    query = """query($k: AssetKeyInput!) { assetOrError(assetKey: $k) {
        ... on Asset { assetMaterializations(limit: 50) { runId } } } }"""
    found = ui.ask(query, k={"path": [asset]})["assetOrError"].get("assetMaterializations", [])
    return [each["runId"] for each in found if each["runId"] not in runs]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.skipif(shutil.which("ss") is None, reason="ss is not installed")
def test_no_port_but_the_uis_is_open_and_it_is_open_to_this_machine_alone(ui: Dev) -> None:
    listed = subprocess.run(["ss", "-ltnpH"], capture_output=True, text=True, check=True).stdout
    ours = {
        line.split()[3]
        for line in listed.splitlines()
        for pid in ui.processes()
        if f"pid={pid}," in line
    }
    assert ours == {f"127.0.0.1:{ui.port}"}


def test_what_it_wrote_is_readable_by_its_owner_only(ui: Dev, user: DemoHome) -> None:
    folders = (user.database.parent, user.dagster_home)
    written = [path for folder in folders for path in folder.rglob("*")]
    tests_own = ("watchlist.yaml", "dagster.yaml")
    ours = [path for path in written if path.name not in tests_own]

    assert len(ours) > 10
    assert [path for path in (*folders, *ours) if path.lstat().st_mode & 0o077] == []


@pytest.mark.parametrize("which", _STARTS)
def test_a_killed_process_comes_back_by_itself(ui: Dev, which: str) -> None:
    def running() -> set[int]:
        return {pid for pid, command in ui.processes().items() if which in command}

    before = wait_until(running, 30)
    for pid in before:
        os.kill(pid, signal.SIGKILL)

    wait_until(lambda: running() - before, 60)
    wait_until(ui.is_loaded, 60)


def test_a_second_make_dev_on_the_same_home_is_a_conflict(ui: Dev, user: DemoHome) -> None:
    with demo_server(user) as server:
        second = begin_dev(user.environment(server))
        printed = second.process.ended(60)

    assert second.process.returncode == 2
    assert "CONFLICT: " in printed
    assert str(ui.process.pid) in printed
    wait_until(ui.is_loaded, 60)  # it may be loading the code again, whose server was just killed


def test_a_stop_in_the_middle_of_a_run_cancels_it_and_leaves_no_process(tmp_path: Path) -> None:
    user = DemoHome(tmp_path)
    with demo_server(user) as server:
        server.latency_s = 2
        with dev(user.environment(server)) as begun:
            run_id = begun.launch("refresh_catalogue")
            wait_until(lambda: server.count() > 2, 60)
            alive = begun.processes()
            told = time.monotonic()
            printed = begun.stop(signal.SIGTERM)
            took = time.monotonic() - told

    assert took < 15
    assert begun.process.returncode == 0
    assert f"The run {run_id} of refresh_catalogue was cancelled" in printed
    assert len(alive) >= 6
    assert [pid for pid in alive if _is_alive(pid)] == []
    with dg.DagsterInstance.from_config(str(user.dagster_home)) as instance:
        [run] = instance.get_runs()
    assert run.status is dg.DagsterRunStatus.CANCELED


def test_killed_itself_it_takes_its_services_along(tmp_path: Path) -> None:
    begun = begin_dev(nobodys_environment(), "--demo", "--demo-folder", str(tmp_path))
    wait_until(begun.is_loaded, 120)
    alive = begun.processes()

    begun.process.kill()
    begun.process.wait(60)

    wait_until(lambda: not any(_is_alive(pid) for pid in alive), 30)


_CHANGES = (
    _LAUNCH,
    'mutation { terminateRun(runId: "x") { __typename } }',
    'mutation { deletePipelineRun(runId: "x") { __typename } }',
    'mutation { wipeAssets(assetPartitionRanges: [{assetKey: {path: ["new_releases"]}}]) '
    "{ __typename } }",
    "mutation { reportRunlessAssetEvents(eventParams: {eventType: ASSET_MATERIALIZATION, "
    'assetKey: {path: ["new_releases"]}}) { __typename } }',
    'mutation { addDynamicPartition(repositorySelector: {repositoryName: "__repository__", '
    f'repositoryLocationName: "{LOCATION}"}}, partitionsDefName: "artists", partitionKey: "x") '
    "{ __typename } }",
    'mutation { startSchedule(scheduleSelector: {repositoryName: "__repository__", '
    f'repositoryLocationName: "{LOCATION}", scheduleName: "refresh_catalogue_schedule"}}) '
    "{ __typename } }",
    f'mutation {{ shutdownRepositoryLocation(repositoryLocationName: "{LOCATION}") '
    "{ __typename } }",
)


def test_read_only_shows_everything_and_changes_nothing(tmp_path: Path) -> None:
    demo = ("--demo", "--demo-folder", str(tmp_path), "--read-only")
    with dev(nobodys_environment(), *demo) as begun:
        answers = [next(iter(begun.ask(change).values())) for change in _CHANGES]
        body = "Content-Type: application/json\nContent-Length: 2\n\n{}"
        host = f"127.0.0.1:{begun.port}"
        reported = [
            _raw(begun, f"POST /report_asset_{what}/new_releases HTTP/1.1\nHost: {host}\n{body}")[0]
            for what in ("materialization", "observation")
        ]
        address = f"ws://{host}/graphql"
        with connect(address, subprotocols=[Subprotocol("graphql-ws")]) as connection:
            connection.send(json.dumps({"type": "connection_init"}))
            asked = {"type": "start", "id": "1", "payload": {"query": _LAUNCH}}
            connection.send(json.dumps(asked))
            said = [json.loads(connection.recv(timeout=30)) for _ in range(2)]
        runs = begun.runs()
        printed = begun.stop(signal.SIGHUP)

    assert {answer["__typename"] for answer in answers} == {"UnauthorizedError"}
    assert reported == [401, 401]
    assert "LaunchRunSuccess" not in json.dumps(said)
    assert runs == {}
    assert "nothing can be started in it" in printed
    assert begun.process.returncode == 0


def _is_alive(pid: int) -> bool:
    shown = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return shown.stdout.strip()[:1] not in ("", "Z")
