// SPDX-License-Identifier: Apache-2.0

// Writes the configuration of a container as containerd would hand it to runc for a kubelet: its mounts, its masked paths and its
// seccomp profile (RuntimeDefault) are containerd's own, the rest is read from standard input.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/oci"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

type wish struct {
	ID           string
	Root         string
	Args         []string
	Env          []string
	User, Group  uint32
	Capabilities []string // all there are
	NoNewRights  bool
	ReadOnlyRoot bool
	Network      string // path of a network namespace: that of the node
	Mounts       []specs.Mount
	MemoryLimit  int64
}

func configuration(wanted wish) (*oci.Spec, error) {
	options := []oci.SpecOpts{
		oci.WithRootFSPath(wanted.Root),
		oci.WithProcessArgs(wanted.Args...),
		oci.WithDefaultPathEnv,
		oci.WithEnv(wanted.Env),
		oci.WithUIDGID(wanted.User, wanted.Group),
		oci.WithCapabilities(wanted.Capabilities),
		oci.WithLinuxNamespace(specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: wanted.Network}),
		// What the folders of a pod lie in belongs to the image.
		oci.WithoutRunMount,
		oci.WithMounts(wanted.Mounts),
		oci.WithCgroup("/" + wanted.ID),
		oci.WithMemoryLimit(uint64(wanted.MemoryLimit)),
	}
	if wanted.ReadOnlyRoot {
		options = append(options, oci.WithRootFSReadonly())
	}
	if !wanted.NoNewRights {
		options = append(options, oci.WithNewPrivileges)
	}
	// Last: the profile lets through what the capabilities are for.
	options = append(options, seccomp.WithDefaultProfile())
	ctx := namespaces.WithNamespace(context.Background(), "test")
	return oci.GenerateSpec(ctx, nil, &containers.Container{ID: wanted.ID}, options...)
}

func main() {
	var wanted wish
	input := json.NewDecoder(os.Stdin)
	input.DisallowUnknownFields()
	err := input.Decode(&wanted)
	if err == nil {
		var made *oci.Spec
		if made, err = configuration(wanted); err == nil {
			err = json.NewEncoder(os.Stdout).Encode(made)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
