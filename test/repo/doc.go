// Package repo tests what belongs to the repository and not to the program: its
// scripts, its words, its pictures and its forms. It never starts Kafka or an agent.
package repo
