// Package agent is the loop behind `hostcheck run`. It shows the verdict from its first moment,
// also and above all when Vault is kept down; it judges the running host again and again; and
// when a closed gate has become passable it asks systemd to start Vault, through the gate and
// never round it.
package agent
