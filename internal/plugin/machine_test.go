package plugin

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
)

// prompting is a communicator whose commands ask for a password before they say anything, as sudo -S does.
type prompting struct{ packersdk.Communicator }

func (prompting) Start(_ context.Context, cmd *packersdk.RemoteCmd) error {
	go func() {
		fmt.Fprint(cmd.Stderr, "[sudo] password for build: ")
		fmt.Fprint(cmd.Stdout, "strongroom: entry=f 644")
		fmt.Fprint(cmd.Stderr, "and ")
		fmt.Fprint(cmd.Stdout, " 0 0 /etc/first\nstrongroom: state=complete")
		cmd.SetExited(0)
	}()
	return nil
}

func TestStreamsOfACommandKeepTheirLines(t *testing.T) {
	var out bytes.Buffer
	if _, err := (machine{comm: prompting{}}).Run(t.Context(), "true", &out); err != nil {
		t.Fatal(err)
	}
	const want = "strongroom: entry=f 644 0 0 /etc/first\nstrongroom: state=complete\n[sudo] password for build: and \n"
	if out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}
