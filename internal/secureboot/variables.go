package secureboot

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"
	"unicode/utf16"

	"github.com/foxboron/go-uefi/efi/signature"
	"github.com/foxboron/go-uefi/efi/util"
	"github.com/foxboron/go-uefi/pkcs7"
)

// Variable is a variable of Secure Boot.
type Variable struct {
	Name  string
	Space string // GUID of the name space
}

// The variables that make up the policy of a machine. PK owns the machine and may change KEK; KEK may change db and dbx; what a key of db
// has signed may run, what dbx names may not.
var (
	PK  = Variable{"PK", "8be4df61-93ca-11d2-aa0d-00e098032b8c"}
	KEK = Variable{"KEK", "8be4df61-93ca-11d2-aa0d-00e098032b8c"}
	DB  = Variable{"db", "d719b2cb-3d3a-4596-a3bc-dad00e67656f"}
	DBX = Variable{"dbx", "d719b2cb-3d3a-4596-a3bc-dad00e67656f"}
)

// Attributes of all four: non-volatile, for boot services and the running system, written with an authentication that has a time.
const Attributes uint32 = 0x27

// owner says in a signature list who has entered it. It decides nothing, but it is measured: PCR 7 holds the whole list.
const owner = "abc5a789-1f30-4d5c-a84b-e19b33d482e2"

// SignatureList is an EFI_SIGNATURE_LIST with one certificate: the value of PK, KEK or db on a machine that trusts nobody else.
func (i Identity) SignatureList() []byte {
	list := signature.NewSignatureDatabase()
	if err := list.Append(signature.CERT_X509_GUID, *util.StringToGUID(owner), i.certificate.Raw); err != nil {
		panic(err) // an empty list takes a certificate
	}
	return list.Bytes()
}

// Update is a signed update of a variable: what SetVariable takes, and what tools and firmware menus call an .auth file. Firmware takes
// it when it has a later time than the variable, or when there is no PK yet (setup mode).
func (i Identity) Update(v Variable, value []byte, at time.Time) ([]byte, error) {
	at = at.UTC()
	stamp := util.EFITime{Year: uint16(at.Year()), Month: uint8(at.Month()), Day: uint8(at.Day()), Hour: uint8(at.Hour()), Minute: uint8(at.Minute()), Second: uint8(at.Second())}
	var message bytes.Buffer
	for _, part := range []any{utf16.Encode([]rune(v.Name)), *util.StringToGUID(v.Space), Attributes, stamp, value} {
		if err := binary.Write(&message, binary.LittleEndian, part); err != nil {
			return nil, fmt.Errorf("cannot sign the variable %s: %w", v.Name, err)
		}
	}
	signed, err := i.signedData(pkcs7.OIDData, message.Bytes())
	if err != nil {
		return nil, fmt.Errorf("cannot sign the variable %s: %w", v.Name, err)
	}
	update := signature.NewEFIVariableAuthentication2()
	update.Time = stamp
	update.AuthInfo.Header.Length += uint32(len(signed))
	update.AuthInfo.CertData = signed
	var out bytes.Buffer
	update.Marshal(&out)
	out.Write(value)
	return out.Bytes(), nil
}

// Bundle is what it takes to make a machine trust i and nobody else: file name → content. PK, KEK and db are one
// certificate here. Whoever keeps the platform's keys apart signs db.esl with a KEK of their own.
func (i Identity) Bundle(at time.Time) (map[string][]byte, error) {
	list := i.SignatureList()
	files := map[string][]byte{"README.txt": []byte(bundleReadme)}
	for _, v := range []Variable{PK, KEK, DB} {
		update, err := i.Update(v, list, at)
		if err != nil {
			return nil, err
		}
		files[v.Name+".cer"], files[v.Name+".esl"], files[v.Name+".auth"] = i.certificate.Raw, list, update
	}
	return files, nil
}

const bundleReadme = `The public keys that a machine needs to run this image, and nothing else, under Secure Boot.

  *.cer   the certificate, DER: for firmware menus
  *.esl   the same as EFI signature list: for OVMF tools and for signing it with a KEK of your own
  *.auth  the list as a signed update: for efi-updatevar, sbkeysync, KeyTool and firmware menus

On a machine in setup mode (its PK deleted in the firmware's menu), db first and PK last, since PK ends the setup mode:

  for v in db KEK PK; do efi-updatevar -f $v.auth $v; done

With these keys alone a card whose option ROM Microsoft has signed does not start any more. docs/secure-boot.md says how to tell,
and how to keep Microsoft's certificate in db.
`
