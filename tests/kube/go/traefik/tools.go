//go:build tools

// SPDX-License-Identifier: Apache-2.0

// Names Traefik's program, so that go.mod and go.sum hold what building it takes.
package main

import _ "github.com/traefik/traefik/v3/cmd/traefik"
