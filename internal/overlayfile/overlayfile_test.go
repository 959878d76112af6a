package overlayfile_test

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/overlay"
	"github.com/strongroom/strongroom/internal/overlayfile"
)

// stamp signs by writing down what it was given.
type stamp struct{}

func (stamp) Sign(w io.Writer, message io.Reader) error {
	if _, err := io.WriteString(w, "signed: "); err != nil {
		return err
	}
	_, err := io.Copy(w, message)
	return err
}
func (stamp) Fingerprint() string { return "" }

func TestWrite(t *testing.T) {
	var tree overlay.Tree
	if err := tree.Add("test", overlay.File("/etc/motd", strings.Repeat("hello\n", 1000))); err != nil {
		t.Fatal(err)
	}
	plain, err := tree.Tar()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"overlay.tar", "overlay.tar.zst"} {
		t.Run(name, func(t *testing.T) {
			var runs [2]string
			for i := range runs {
				dir := t.TempDir()
				path := filepath.Join(dir, name)
				sum, err := overlayfile.Write(path, &tree, stamp{})
				if err != nil {
					t.Fatal(err)
				}
				check := exec.Command("sha256sum", "--strict", "-c", name+overlayfile.SumSuffix)
				check.Dir = dir
				if out, err := check.CombinedOutput(); err != nil {
					t.Errorf("sha256sum: %s", out)
				}
				content := read(t, path)
				if string(read(t, path+overlayfile.SignatureSuffix)) != "signed: "+string(content) {
					t.Error("the signature is not over the file as it lies there")
				}
				if got, err := exec.Command("tar", "-xOf", path, "etc/motd").Output(); err != nil || len(got) != 6000 {
					t.Errorf("tar reads %d bytes (%v)", len(got), err)
				}
				if name == "overlay.tar" && !bytes.Equal(content, plain) {
					t.Error("the file is not the tree's tar")
				}
				runs[i] = sum + string(content)
			}
			if runs[0] != runs[1] {
				t.Error("two runs differ")
			}
		})
	}
}

func TestWriteUnsigned(t *testing.T) {
	path := filepath.Join(t.TempDir(), "overlay.tar")
	if _, err := overlayfile.Write(path, &overlay.Tree{}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path + overlayfile.SignatureSuffix); !os.IsNotExist(err) {
		t.Error("a signature by nobody")
	}
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return content
}
