//go:build !crashpoints

package main

// crashPoint is nothing but in a build for tests.
func crashPoint() func(string) { return nil }
