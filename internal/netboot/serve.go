package netboot

import (
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"
)

// Handler serves the files of a bundle that Verify has passed, and nothing else that lies beside them. Each request is
// one record of log.
func Handler(bundle *os.Root, m Manifest, log *slog.Logger) http.Handler {
	tags := map[string]string{ManifestName: ""}
	for _, f := range m.Files {
		tags[f.Name] = `"` + f.SHA256 + `"`
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		answer := &answer{ResponseWriter: w, status: http.StatusOK}
		serve(answer, r, bundle.FS(), tags)
		log.InfoContext(r.Context(), "request", "client", r.RemoteAddr, "method", r.Method, "path", r.URL.Path, "range", r.Header.Get("Range"),
			"status", answer.status, "bytes", answer.bytes, "seconds", time.Since(start).Seconds())
	})
}

func serve(w http.ResponseWriter, r *http.Request, bundle fs.FS, tags map[string]string) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
		return
	}
	name := strings.TrimPrefix(r.URL.Path, "/")
	tag, known := tags[name]
	if !known {
		http.NotFound(w, r)
		return
	}
	f, err := bundle.Open(name)
	if err != nil {
		http.Error(w, "cannot read the file", http.StatusInternalServerError)
		return
	}
	defer f.Close()
	content, ok := f.(http.File)
	if !ok {
		http.Error(w, "cannot read the file", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	if tag != "" {
		w.Header().Set("ETag", tag)
	}
	http.ServeContent(w, r, name, time.Time{}, content)
}

// answer counts what is written.
type answer struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (a *answer) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(b []byte) (int, error) {
	n, err := a.ResponseWriter.Write(b)
	a.bytes += int64(n)
	return n, err
}
