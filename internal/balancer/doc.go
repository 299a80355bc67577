// Package balancer compares what a cloud, Terraform or HAProxy says is there with what a manifest needs: every port,
// the broker behind it, its probe, and the switches that break Kafka's connections without a word.
//
// It owns what these documents look like. It is pure: documents in, findings out. It reads no file and asks no cloud.
// It never says of something that a document does not show that it is missing, or that it is right.
package balancer
