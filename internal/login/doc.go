// Package login reads the files with which a client proves to Kafka who it is,
// and knows whom it may trust: certificates and keys in PEM, JKS and PKCS12, and
// Kafka's own client.properties with the JAAS configuration in it.
//
// It owns what these files mean. Each is read again whenever it is asked for, so
// that a renewed certificate or password needs no restart; nothing is kept. It
// never talks to Kafka, and none of its errors holds a secret.
package login
