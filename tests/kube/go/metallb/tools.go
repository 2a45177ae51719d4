//go:build tools

// SPDX-License-Identifier: Apache-2.0

// Names MetalLB's programs, so that go.mod and go.sum hold what building them takes.
package metallb

import (
	_ "go.universe.tf/metallb/controller"
	_ "go.universe.tf/metallb/speaker"
)
