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

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PACKAGING: Final = ROOT / "packaging"
EXAMPLE: Final = PACKAGING / "kustomize" / "example"
KUBERNETES_VALIDATE: Final = "kubernetes-validate==1.37.0"
KUBERNETES: Final = "1.34"
TOOLS: Final = ("cloud-init", "ansible-core", "docker-compose", "python3-distutils")


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


def run_in(root: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a tool in the root folder that holds it."""
    return subprocess.run(
        ["chroot", str(root), *command],  # noqa: S607 - as the system finds it
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
