# SPDX-License-Identifier: Apache-2.0
"""The API server asked without kubectl: as somebody, hundreds of times a second, with the answer's status code."""

from __future__ import annotations

import http.client
import json
import ssl
from typing import Mapping

from .control_plane import PORT, ControlPlane


class Api:
    """One connection, as whom the token belongs to."""

    def __init__(self, control: ControlPlane, token: str) -> None:
        self._control, self._token = control, token
        self._tls = ssl.create_default_context(cafile=str(control.ca))
        self._connection: http.client.HTTPSConnection | None = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def ask(self, method: str, path: str, body: Mapping | None = None, kind: str = "application/json") -> tuple[int, dict]:
        """The status code and the object that is answered."""
        if self._connection is None:
            self._connection = http.client.HTTPSConnection(self._control.address, PORT, context=self._tls)
            plain = self._control.host.connect(self._control.address, PORT, timeout=30)
            self._connection.sock = self._tls.wrap_socket(plain, server_hostname=self._control.address)
        self._connection.request(method, path, json.dumps(body) if body is not None else None,
                                 {"Authorization": f"Bearer {self._token}", "Content-Type": kind})
        answer = self._connection.getresponse()
        return answer.status, json.loads(answer.read() or "{}")

    def may(self, verb: str, resource: str, namespace: str = "") -> bool:
        """Whether a request would be allowed. `resource` is written as RBAC has it: endpointslices.discovery.k8s.io,
        services/status. Without a namespace all are meant, and what has none."""
        name, _, group = resource.partition(".")
        if "/" in resource:  # ipaddresspools/status.metallb.io
            name, _, rest = resource.partition("/")
            subresource, _, group = rest.partition(".")
        else:
            subresource = ""
        code, said = self.ask("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {"verb": verb, "group": group, "resource": name, "subresource": subresource,
                                            "namespace": namespace}}})
        if code != 201:
            raise AssertionError(f"an access review was answered {code}: {said}")
        return bool(said["status"]["allowed"])
