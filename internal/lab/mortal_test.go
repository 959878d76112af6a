package lab

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMortal kills a lab and looks for what it has started. The lab is this program again.
func TestMortal(t *testing.T) {
	if os.Getenv("STRONGROOM_MORTAL") != "" {
		cmd := exec.Command("sleep", "300")
		if err := startMortal(cmd, func(error) {}); err != nil {
			t.Fatal(err)
		}
		fmt.Printf("child %d\n", cmd.Process.Pid)
		select {}
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	lab := exec.Command(program, "-test.run=^TestMortal$")
	lab.Env = append(os.Environ(), "STRONGROOM_MORTAL=1")
	output, err := lab.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := lab.Start(); err != nil {
		t.Fatal(err)
	}
	child := 0
	for lines := bufio.NewScanner(output); child == 0 && lines.Scan(); {
		if number, ok := strings.CutPrefix(lines.Text(), "child "); ok {
			child, _ = strconv.Atoi(number)
		}
	}
	if child == 0 || syscall.Kill(child, 0) != nil {
		t.Fatalf("child %d does not run", child)
	}
	time.Sleep(100 * time.Millisecond) // its threads come and go meanwhile, and the child stays
	if syscall.Kill(child, 0) != nil {
		t.Fatal("the child does not live as long as the lab")
	}
	lab.Process.Kill()
	lab.Wait()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		// A zombie that nobody has waited for yet is dead too.
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", child))
		if err != nil || strings.Contains(string(status), ") Z ") {
			return
		}
		if time.Now().After(deadline) {
			syscall.Kill(child, syscall.SIGKILL)
			t.Fatal("the child survives the lab")
		}
	}
}
