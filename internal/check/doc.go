// Package check finds out what is wrong on this VM: with its files, its unit, its ports, its login to
// Kafka, and with what a restart would bring.
//
// It owns the findings, and what each of them says to do. It never changes anything, and never says that
// all is well with what it cannot see.
package check
