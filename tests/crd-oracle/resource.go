package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	v1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/api/operation"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"
)

// resource is one served version of a CRD.
type resource struct {
	schema     *structuralschema.Structural
	validator  validation.SchemaValidator
	rules      *cel.Validator
	namespaced bool
}

// load adds the served versions of a file's CRD.
func load(file string, into map[schema.GroupVersionKind]*resource) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	crd := &v1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict(text, crd); err != nil {
		return err
	}
	v1.SetDefaults_CustomResourceDefinitionSpec(&crd.Spec)
	for _, version := range crd.Spec.Versions {
		if !version.Served {
			continue
		}
		kind := schema.GroupVersionKind{Group: crd.Spec.Group, Version: version.Name, Kind: crd.Spec.Names.Kind}
		found, err := newResource(kind, version, crd.Spec.Scope == v1.NamespaceScoped)
		if err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
		into[kind] = found
	}
	return nil
}

func newResource(kind schema.GroupVersionKind, version v1.CustomResourceDefinitionVersion, namespaced bool) (*resource, error) {
	internal := &apiextensions.JSONSchemaProps{}
	if err := v1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(version.Schema.OpenAPIV3Schema, internal, nil); err != nil {
		return nil, err
	}
	structural, err := structuralschema.NewStructural(internal)
	if err != nil {
		return nil, err
	}
	if err := defaulting.PruneDefaults(structural); err != nil {
		return nil, err
	}
	validator, _, err := validation.NewSchemaValidator(internal)
	if err != nil {
		return nil, err
	}
	rules := cel.NewValidator(structural, true, celconfig.PerCallLimit)
	return &resource{structural, validator, rules, namespaced}, nil
}

// create does to an object what a POST with fieldValidation=Strict does, in the same order.
func (r *resource) create(ctx context.Context, object *unstructured.Unstructured) error {
	meta, _, unknown, err := objectmeta.GetObjectMetaWithOptions(
		object.Object, objectmeta.ObjectMetaOptions{ReturnUnknownFieldPaths: true},
	)
	if err != nil {
		return err
	}
	apiVersion, kind := object.GetAPIVersion(), object.GetKind()
	unknown = append(unknown, pruning.PruneWithOptions(
		object.Object, r.schema, true, structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true},
	)...)
	defaulting.PruneNonNullableNullsWithoutDefaults(object.Object, r.schema)
	if len(unknown) > 0 {
		return fmt.Errorf("unknown field %s", strings.Join(unknown, ", "))
	}
	object.SetAPIVersion(apiVersion)
	object.SetKind(kind)
	if err := objectmeta.SetObjectMeta(object.Object, meta); err != nil {
		return err
	}
	defaulting.Default(object.Object, r.schema)

	delete(object.Object, "status") // a subresource
	switch {
	case !r.namespaced:
		object.SetNamespace("")
	case object.GetNamespace() == "":
		object.SetNamespace("default")
	}
	meta.Namespace = object.GetNamespace()
	return r.validate(ctx, object, meta).ToAggregate()
}

func (r *resource) validate(ctx context.Context, object *unstructured.Unstructured, meta *metav1.ObjectMeta) field.ErrorList {
	errs := apivalidation.ValidateObjectMetaDeclaratively(
		ctx, operation.Create, meta, nil, r.namespaced, apivalidation.NameIsDNSSubdomain, field.NewPath("metadata"), true,
	)
	errs = append(errs, validation.ValidateCustomResource(nil, object.Object, r.validator)...)
	errs = append(errs, objectmeta.Validate(ctx, nil, object.Object, r.schema, false)...)
	errs = append(errs, listtype.ValidateListSetsAndMaps(nil, r.schema, object.Object)...)
	for _, err := range errs {
		switch err.Type {
		case field.ErrorTypeNotSupported, field.ErrorTypeRequired, field.ErrorTypeTooLong, field.ErrorTypeTooMany,
			field.ErrorTypeTypeInvalid:
			return errs // the rules expect what these checks ensure
		}
	}
	broken, _ := r.rules.Validate(ctx, nil, r.schema, object.Object, nil, celconfig.RuntimeCELCostBudget)
	return append(errs, broken...)
}
