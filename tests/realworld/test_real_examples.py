"""Files that an operator copies: the real tools accept them, and do with them what is promised.

The tools come from Debian and are only unpacked, so that this machine stays as it is.
"""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Final

import pytest
from packager.debian import Archive
from realworld.conftest import ROOT
from realworld.machine import command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from realworld.fleet import Fleet
    from realworld.machine import Box

PACKAGING: Final = ROOT / "packaging"
EXAMPLE: Final = PACKAGING / "kustomize" / "example"
KUBERNETES_VALIDATE: Final = "kubernetes-validate==1.37.0"
KUBERNETES: Final = "1.34"
TOOLS: Final = ("cloud-init", "ansible-core", "docker-compose", "python3-apt")
THERE: Final = ("--selector", "place=press")

pytestmark = pytest.mark.nightly


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A root folder with the tools of Debian 12, and the examples below /packaging."""
    folder = tmp_path_factory.mktemp("tools")
    root = folder / "root"
    for package in Archive("deb12", "amd64", folder).fetch(*TOOLS, "coreutils", "dash", "passwd"):
        package.unpack(root)
    shutil.copytree(PACKAGING, root / "packaging")
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    yield root
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of Debian 13, whose kustomize is a present one."""
    folder = tmp_path_factory.mktemp("kubectl")
    for package in Archive("deb13", "amd64", folder).fetch("kubectl"):
        if package.field("Package") == "kubectl":
            package.unpack(folder / "root")
    return folder / "root/usr/bin/kubectl"


def test_cloud_init_accepts_the_file_for_new_machines(tools: Path) -> None:
    schema = ("cloud-init", "schema", "--config-file")
    assert "Valid" in run_in(tools, *schema, "/packaging/examples/cloud-init.yaml").stdout
    spoilt = tools / "packaging/examples/spoilt.yaml"
    spoilt.write_text("#cloud-config\nwrite_files: everywhere\n")
    assert run_in(tools, *schema, "/packaging/examples/spoilt.yaml").returncode


def test_ansible_accepts_the_playbook(tools: Path) -> None:
    folder = "/packaging/examples/ansible"
    play = ("ansible-playbook", "--syntax-check", "-i", f"{folder}/devices.ini")
    checked = run_in(tools, *play, f"{folder}/devices.yaml")
    assert (checked.returncode, "playbook: " in checked.stdout) == (0, True), checked.stderr


def test_compose_accepts_the_file_for_a_trial(tools: Path) -> None:
    file = "/packaging/compose/compose.yaml"
    shown = run_in(tools, "docker-compose", "-f", file, "config")
    assert shown.returncode == 0, shown.stderr
    for service in ("manager", "agent"):
        assert f"\n  {service}:\n" in shown.stdout
    assert shown.stdout.count("read_only: true") == 4
    spoilt = tools / "packaging/compose/spoilt.yaml"
    spoilt.write_text((tools / file[1:]).read_text().replace("read_only: true", "read_only: [1]"))
    assert run_in(
        tools, "docker-compose", "-f", "/packaging/compose/spoilt.yaml", "config"
    ).returncode


def test_kubernetes_schemas_accept_the_manifests_and_no_pod_has_a_right_too_many(
    kubectl: Path, tmp_path: Path
) -> None:
    built = subprocess.run(
        [kubectl, "kustomize", EXAMPLE], capture_output=True, text=True, check=True
    )
    assert built.stderr == ""
    manifests = tmp_path / "manifests.yaml"
    manifests.write_text(built.stdout)
    validate = (ROOT / ".uv/bin/uv", "tool", "run", "--quiet", "--from", KUBERNETES_VALIDATE)
    uv = shutil.which("uv") or str(validate[0])
    checked = subprocess.run(
        [uv, *validate[1:], "kubernetes-validate", "--strict", "-k", KUBERNETES, manifests],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stdout.count("passed") == built.stdout.count("apiVersion:")
    containers = built.stdout.count("image: ")
    for careful in ("readOnlyRootFilesystem: true", "allowPrivilegeEscalation: false"):
        assert built.stdout.count(careful) == containers == 4
    assert built.stdout.count("runAsNonRoot: true") == 2
    assert built.stdout.count("automountServiceAccountToken: false") == 2


@pytest.fixture(scope="module")
def press(
    fleet: Fleet, tools: Path, packages: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Box]:
    """A machine that the playbook has made a device of the fleet."""
    box = fleet.join("press", tmp_path_factory.mktemp("press"))
    try:
        box.build()
        (box.root / "opt/tools").mkdir(parents=True)
        command("mount", "--bind", str(tools), str(box.root / "opt/tools"))
        box.write("/etc/ansible/hosts", "[devices]\nlocalhost ansible_connection=local\n")
        box.start(unified=True)
        box.wait_up()
        box.copy(packages["sealane-agent"], "/srv")
        yield box
        fleet.leave("press")
    finally:
        box.stop()
        box.remove()


def play(box: Box, package: Path, token: str) -> str:
    """Run the playbook on the machine itself; returns what it said."""
    variables = {"PYTHONPATH": "/opt/tools/usr/lib/python3/dist-packages", "HOME": "/root"}
    given = (f"sealane_package=/srv/{package.name}", f"sealane_token={token}")
    return box.run(
        *("/usr/bin/python3.11", "/opt/tools/usr/bin/ansible-playbook"),
        *("-e", "ansible_become=false", "-e", "ansible_python_interpreter=/usr/bin/python3.11"),
        *(word for each in given for word in ("-e", each)),
        "/opt/tools/packaging/examples/ansible/devices.yaml",
        variables={**variables, "ANSIBLE_LOCALHOST_WARNING": "False", "LANG": "C.UTF-8"},
    )


def test_the_playbook_makes_a_machine_a_device_and_does_nothing_the_second_time(
    fleet: Fleet, press: Box, packages: dict[str, Path]
) -> None:
    token = fleet.sealane("device", "token", "--label", "place=press").strip()
    first = play(press, packages["sealane-agent"], token)
    assert "failed=0" in first
    fleet.wait_connected(1, *THERE)
    assert not (press.root / "etc/sealane/join-token").exists()
    assert "changed=0" in play(press, packages["sealane-agent"], token)


@pytest.mark.usefixtures("press")
def test_with_the_drop_ins_a_device_reaches_its_manager_and_nobody_else(
    fleet: Fleet, press: Box
) -> None:
    manager, other = fleet.manager.address, fleet.boxes["one"].address
    for unit in ("endpoint", "agent"):
        for address, port in ((manager, 7443), (other, 22)):
            assert speaks(press, unit, address, port), "the network itself forbids nothing"
        text = (PACKAGING / "examples" / f"egress-{unit}.conf").read_text()
        place = f"/etc/systemd/system/sealane-{unit}.service.d/egress.conf"
        assert place in text
        press.write(place, text.replace("203.0.113.10/32", manager))
    press.run("systemctl", "daemon-reload")
    press.run("systemctl", "restart", "sealane-endpoint", "sealane-agent")
    fleet.wait_connected(1, *THERE)
    assert speaks(press, "agent", manager, 7443)
    assert not speaks(press, "endpoint", manager, 7443)
    assert not speaks(press, "agent", other, 22)
    assert speaks(press, "endpoint", "127.0.0.1", 8000)


def speaks(box: Box, unit: str, address: str, port: int) -> bool:
    """Whether a process of the unit reaches an address: it is answered, or refused by it."""
    group = f"/sys/fs/cgroup/system.slice/sealane-{unit}.service/cgroup.procs"
    script = (
        f"import socket; open({group!r}, 'w').write('0')\n"
        f"try: socket.create_connection(({address!r}, {port}), 3)\n"
        "except ConnectionRefusedError: pass\n"
    )
    return box.try_run("/usr/bin/python3.11", "-c", script).returncode == 0


def run_in(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a tool in the root folder that holds it."""
    return subprocess.run(
        ["chroot", str(root), *words],  # noqa: S607 - as the system finds it
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
