package node

// TLSReferences say where the node's TLS material lies.
type TLSReferences struct {
	Cert Reference // the node's certificate and its intermediates, PEM
	Key  Reference // PEM
	CA   Reference // the authorities that the cluster believes, PEM
}

type tlsSpec struct {
	Cert string `hcl:"cert,optional"`
	Key  string `hcl:"key,optional"`
	CA   string `hcl:"ca,optional"`
}

func (s *tlsSpec) check(at locator, wrong *Mistakes) TLSReferences {
	if s == nil {
		s = &tlsSpec{}
	}
	block := at.block("tls")
	return TLSReferences{
		Cert: reference(block, "cert", s.Cert, DefaultCert, wrong),
		Key:  reference(block, "key", s.Key, DefaultKey, wrong),
		CA:   reference(block, "ca", s.CA, DefaultCA, wrong),
	}
}
