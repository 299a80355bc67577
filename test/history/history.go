// Package history builds earlier states of this repository from its own git
// history, for tests that upgrade from them. What it builds stays in the cache.
package history

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"example.com/kpls-agent/test/sandbox"
)

// The commits that agents are upgraded from, and go back to. A commit that is no longer here is no longer supported.
const (
	// Oldest stands still on every unknown key, and knows no hazards, edits and causes of a halt.
	Oldest = "f16463310d4b09e7cee437b9cb83d514d641a33d"
	// Before is the last one that stands still on every unknown key.
	Before = "6f4bf76bdd5bff733ec5b78d8aaf2dcd4f976122"
)

// Tree returns a directory that holds the program's sources as of a commit.
func Tree(ctx context.Context, commit string) (string, error) {
	return cached(commit, "src", func(into string) error {
		root, err := sandbox.ModuleRoot()
		if err != nil {
			return err
		}
		if out, err := run(ctx, root, "git", "cat-file", "-e", commit+"^{commit}"); err != nil {
			return missing(ctx, root, commit, out, err)
		}
		archive := into + ".tar"
		defer func() { _ = os.Remove(archive) }() // what stays is overwritten
		out, err := run(ctx, root, "git", "archive", "-o", archive, commit, "go.mod", "go.sum", "cmd", "internal")
		if err != nil {
			return fmt.Errorf("git archive %s: %w: %s", commit, err, out)
		}
		if err := os.Mkdir(into, 0o750); err != nil {
			return err
		}
		if out, err := run(ctx, into, "tar", "-xf", archive); err != nil {
			return fmt.Errorf("tar: %w: %s", err, out)
		}
		return nil
	})
}

// Agent returns the agent as of a commit, built with the build tag crashpoints.
func Agent(ctx context.Context, commit string) (string, error) {
	tree, err := Tree(ctx, commit)
	if err != nil {
		return "", err
	}
	return cached(commit, "kpls-agent", func(into string) error {
		out, err := run(ctx, tree, "go", "build", "-buildvcs=false", "-tags", "crashpoints",
			"-ldflags", "-X main.version="+commit[:7], "-o", into, "./cmd/kpls-agent")
		if err != nil {
			return fmt.Errorf("build the agent of %s: %w\n%s", commit, err, out)
		}
		return nil
	})
}

// Run runs a Go program inside the module of a commit, where it can import what is internal, and returns what it
// prints.
func Run(ctx context.Context, commit, program string) ([]byte, error) {
	tree, err := Tree(ctx, commit)
	if err != nil {
		return nil, err
	}
	source, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(filepath.Join(tree, "internal"), "run-*")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // what stays is part of no build
	if err := os.WriteFile(filepath.Join(dir, "main.go"), source, 0o600); err != nil {
		return nil, err
	}
	return run(ctx, tree, "go", "run", "./internal/"+filepath.Base(dir))
}

// cached returns a path in the cache, which create makes first where it is not there yet.
func cached(commit, name string, create func(into string) error) (string, error) {
	cache, err := sandbox.CacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "builds", commit)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", err
	}
	path := filepath.Join(dir, name)
	unlock, err := sandbox.LockFile(path + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	unfinished := path + ".new"
	if err := os.RemoveAll(unfinished); err != nil {
		return "", err
	}
	if err := create(unfinished); err != nil {
		return "", err
	}
	return path, os.Rename(unfinished, path)
}

// missing says what a clone lacks.
func missing(ctx context.Context, root, commit string, out []byte, err error) error {
	if shallow, e := run(ctx, root, "git", "rev-parse", "--is-shallow-repository"); e != nil {
		return fmt.Errorf(
			"the history of this repository is needed for commit %s, and %s is no git clone that git can read: %w: %s",
			commit, root, err, out)
	} else if strings.TrimSpace(string(shallow)) == "true" {
		return fmt.Errorf("commit %s is not in this shallow clone; `git fetch --unshallow` fetches the whole history",
			commit)
	}
	return fmt.Errorf("commit %s is not in this clone; fetch the whole history of the repository: %w: %s", commit, err,
		out)
}

func run(ctx context.Context, dir, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return bytes.TrimSpace(stderr.Bytes()), errors.Join(err, context.Cause(ctx))
	}
	return stdout.Bytes(), nil
}
