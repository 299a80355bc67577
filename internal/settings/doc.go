// Package settings is this VM's own file: where the broker's files and unit are, how to log in to
// Kafka, and how long to wait.
//
// It owns the file's fields with their rules, and the copy of the last good settings. It never opens
// what the settings name, but for the files of the login, and keeps no password.
package settings
